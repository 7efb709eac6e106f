package events_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport/memory"
)

type orderShipped struct {
	Order int `json:"order"`
}

// Many events of one type are one round trip to the transport, and all of them are
// checked before the first is published.
func ExamplePublishAll() {
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	if err != nil {
		panic(err)
	}
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "warehouse"})
	if err != nil {
		panic(err)
	}
	err = events.PublishAll(context.Background(), publisher, "order.shipped", []orderShipped{{1}, {2}, {3}})
	fmt.Println(err)
	// Output: <nil>
}

// flaky stores only some of what it is given.
type flaky struct{}

func (flaky) Publish(topic string, msgs ...*message.Message) error {
	lost := events.FailedMessage{Topic: topic, Message: msgs[1], Err: errors.New("the disk is full")}
	return &events.PublishError{Topic: topic, Total: len(msgs), Failed: []events.FailedMessage{lost}}
}

func (flaky) Close() error { return nil }

// Who must know of each event what became of it makes the messages first.
func ExampleMessages() {
	publisher, err := events.NewPublisher(flaky{}, events.PublisherConfig{Origin: "warehouse"})
	if err != nil {
		panic(err)
	}
	orders := []orderShipped{{1}, {2}, {3}}
	msgs, err := events.Messages(context.Background(), publisher, "order.shipped", orders)
	if err != nil {
		panic(err)
	}
	errs, _ := events.FailedOf(flaky{}.Publish("order-events", msgs...), msgs)
	for i, order := range orders {
		fmt.Println(order.Order, errs[i])
	}
	// Output:
	// 1 <nil>
	// 2 the disk is full
	// 3 <nil>
}
