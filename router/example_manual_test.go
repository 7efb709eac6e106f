package router_test

import (
	"context"
	"fmt"

	"github.com/logistically/events"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/memory"
)

// The handler hands its events to another goroutine, which settles them when the
// report that they are part of is stored.
func ExampleHandleManual() {
	broker := memory.NewBroker(memory.BrokerConfig{})
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "reports"})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"order-events"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	pending := make(chan *router.Settler, 3)
	err = router.HandleManual(r, "order.placed", router.ManualConfig{MaxPending: 3},
		func(_ context.Context, _ events.Event[order], s *router.Settler) error {
			pending <- s
			return nil // It is not settled yet.
		})
	if err != nil {
		fmt.Println(err)
		return
	}

	pub, err := memory.NewPublisher(broker)
	if err != nil {
		fmt.Println(err)
		return
	}
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for n := range 3 {
		if err := publisher.Publish(ctx, "order.placed", order{n}); err != nil {
			fmt.Println(err)
			return
		}
	}
	go func() {
		defer cancel()
		report := []*router.Settler{<-pending, <-pending, <-pending}
		fmt.Println("a report on", len(report), "orders is stored")
		for _, s := range report {
			s.Settle(nil)
		}
	}()
	fmt.Println(r.Run(ctx), broker.Unsettled("order-events", "reports"))
	// Output:
	// a report on 3 orders is stored
	// <nil> 0
}
