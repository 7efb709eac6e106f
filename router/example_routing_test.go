package router_test

import (
	"context"
	"fmt"
	"os"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/router"
)

// Each kind of event has a stream of its own, payments go first, and in development
// debug events are printed.
func ExampleTable() {
	for _, environment := range []string{"production", "development"} {
		if err := os.Setenv("APP_ENV", environment); err != nil {
			panic(err)
		}
		routes := []router.Route{
			{Pattern: "user.*", Transport: "redis", Prefix: "user-events:"},
			{Pattern: "order.*", Transport: "redis", Prefix: "order-events:"},
			{Pattern: "payment.*", Transport: "redis", Prefix: "payment-events:", Priority: router.PriorityHigh},
			{Pattern: "audit.*", Transport: "redis", Topic: "audit"}, // all in one
		}
		if os.Getenv("APP_ENV") == "development" {
			routes = append(routes, router.Route{Pattern: "debug.*", Transport: "console"})
		}
		table, err := router.NewTable(router.TableConfig{
			Default:    "redis",
			Transports: map[string]message.Publisher{"redis": printer("redis"), "console": printer("console")},
			Routes:     routes,
		})
		if err != nil {
			panic(err)
		}
		publisher, err := events.NewPublisher(table, events.PublisherConfig{Origin: "my-service"})
		if err != nil {
			panic(err)
		}
		fmt.Println("in", environment)
		for _, eventType := range []string{"user.created", "payment.taken", "audit.log", "debug.cache"} {
			if err := publisher.Publish(context.Background(), eventType, nil); err != nil {
				panic(err)
			}
		}
	}
	// Output:
	// in production
	// redis user-events:user-events user.created ""
	// redis payment-events:payment-events payment.taken "high"
	// redis audit audit.log ""
	// redis debug-events debug.cache ""
	// in development
	// redis user-events:user-events user.created ""
	// redis payment-events:payment-events payment.taken "high"
	// redis audit audit.log ""
	// console debug-events debug.cache ""
}
