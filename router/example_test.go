package router_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/logistically/events"
	"github.com/logistically/events/router"
)

// A typed handler gets the events that its pattern selects.
func ExampleHandle() {
	channel := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	r, err := router.New(router.Config{Subscriber: channel, Topics: []string{"user-events"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	type user struct{ Name string }
	handled := make(chan struct{})
	err = router.Handle(r, "user.*", func(ctx context.Context, ev events.Event[user]) error {
		fmt.Println(ev.Type, ev.Body.Name)
		close(handled)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	<-r.Running()

	pub, err := events.NewPublisher(channel, events.PublisherConfig{Origin: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := pub.Publish(ctx, "user.created", user{"Ada"}); err != nil {
		fmt.Println(err)
		return
	}
	<-handled
	cancel()
	fmt.Println(<-done, channel.Close())
	// Output:
	// user.created Ada
	// <nil> <nil>
}

// Registration says what is wrong, and Run refuses to start with it.
func ExampleRouter_HandleMessage_refused() {
	channel := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	r, err := router.New(router.Config{Subscriber: channel, Topics: []string{"user-events"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = r.HandleMessage("user.cre*", func(*message.Message) error { return nil })
	fmt.Println(err)
	refused, ok := errors.AsType[*events.ConfigError](r.Run(context.Background()))
	fmt.Println(ok, refused.Value, channel.Close())
	// Output:
	// router.HandleMessage pattern: has a * inside a segment (got "user.cre*"): a wildcard stands for whole segments: * for one, ** for one or more at the end
	// true user.cre* <nil>
}

// printer is a transport that says what it is given.
type printer string

func (p printer) Publish(topic string, messages ...*message.Message) error {
	for _, m := range messages {
		fmt.Printf("%s %s %s %q\n", p, topic, m.Metadata[events.MetadataType], m.Metadata[events.MetadataPriority])
	}
	return nil
}

func (printer) Close() error { return nil }

// A table sends events to transports, topics and priorities by their type.
func ExampleNewTable() {
	table, err := router.NewTable(router.TableConfig{
		Default:    "redis",
		Transports: map[string]message.Publisher{"redis": printer("redis"), "console": printer("console")},
		Routes: []router.Route{
			{Pattern: "payment.*", Transport: "redis", Prefix: "payments:", Priority: router.PriorityHigh},
			{Pattern: "debug.**", Transport: "console"},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	pub, err := events.NewPublisher(table, events.PublisherConfig{Origin: "example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, eventType := range []string{"user.created", "payment.taken", "debug.cache.miss"} {
		if err := pub.Publish(context.Background(), eventType, nil); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// redis user-events user.created ""
	// redis payments:payment-events payment.taken "high"
	// console debug-events debug.cache.miss ""
}
