package router_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/memory"
)

// In an ordered lane the events of one order are handled one after the other,
// and those of different orders at the same time.
func ExampleRouter_Lane() {
	broker := memory.NewBroker(memory.BrokerConfig{})
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "billing"})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"orders"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	orders, err := r.Lane(router.LaneConfig{
		Name:        "orders",
		Concurrency: 32,
		OrderBy:     func(msg *message.Message) string { return msg.Metadata["order"] },
		MaxAttempts: 10, // then the event is a dead letter, and its order goes on
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	type order struct{ Step int }
	handled := make(chan struct{}, 2)
	err = router.Handle(orders, "order.*", func(_ context.Context, ev events.Event[order]) error {
		fmt.Println(ev.Type, ev.Body.Step)
		handled <- struct{}{}
		return nil
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
	for step, eventType := range []string{"order.placed", "order.paid"} {
		msg := message.NewMessage(fmt.Sprint("event-", step), fmt.Appendf(nil, `{"Step":%d}`, step))
		msg.Metadata["order"] = "4711"
		msg.Metadata[events.MetadataType] = eventType
		if err := pub.Publish("orders", msg); err != nil {
			fmt.Println(err)
			return
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	<-handled
	<-handled
	cancel()
	fmt.Println(<-done)
	// Output:
	// order.placed 0
	// order.paid 1
	// <nil>
}

// A batch handler gets several events at a time, and answers for each of them.
func ExampleHandleBatch() {
	broker := memory.NewBroker(memory.BrokerConfig{})
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "search"})
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"products"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	type product struct{ Name string }
	handled := make(chan struct{})
	err = router.HandleBatch(r, "product.*", router.BatchConfig{MaxSize: 3}, func(_ context.Context, evs []events.Event[product]) []error {
		errs := make([]error, len(evs))
		for i, ev := range evs {
			if ev.Body.Name == "" {
				errs[i] = events.Permanent(errors.New("a product has a name"))
			}
		}
		fmt.Println(len(evs), "products")
		close(handled)
		return errs
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
	for i, name := range []string{"pen", "ink", "paper"} {
		msg := message.NewMessage(fmt.Sprint(i), fmt.Appendf(nil, `{"Name":%q}`, name))
		msg.Metadata[events.MetadataType] = "product.changed"
		if err := pub.Publish("products", msg); err != nil {
			fmt.Println(err)
			return
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	<-handled
	cancel()
	fmt.Println(<-done)
	// Output:
	// 3 products
	// <nil>
}
