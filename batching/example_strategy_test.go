package batching_test

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
)

// batchesOf publishes four events with a strategy; see calls for what is printed.
func batchesOf(strategy func(topic string, msg *message.Message) string) {
	p, err := batching.NewPublisher(calls{}, batching.Config{Mode: batching.Buffered, Strategy: strategy})
	if err != nil {
		panic(err)
	}
	for _, eventType := range []string{"user.created", "user.deleted", "user.created", "order.item.added"} {
		msg := message.NewMessage("", []byte("{}"))
		msg.Metadata[events.MetadataType] = eventType
		msg.Metadata["tenant"] = eventType[:1] // u or o
		if err := p.Publish("all-events", msg); err != nil {
			panic(err)
		}
	}
	if err := p.Flush(context.Background()); err != nil {
		panic(err)
	}
	if err := p.Close(); err != nil {
		panic(err)
	}
}

// The default: events of one type make a batch, and stay in order.
func ExampleExactType() {
	batchesOf(batching.ExactType)
	// Unordered output:
	// published to all-events in one call: 2
	// published to all-events in one call: 1
	// published to all-events in one call: 1
}

// Events of user.* make a batch, and stay in order.
func ExampleFirstSegments() {
	batchesOf(batching.FirstSegments(1))
	// Unordered output:
	// published to all-events in one call: 3
	// published to all-events in one call: 1
}

// All events of a topic make a batch, and stay in order.
func ExampleByTopic() {
	batchesOf(batching.ByTopic)
	// Output:
	// published to all-events in one call: 4
}

// Messages of one tenant make a batch, and stay in order.
func ExampleConfig_strategy() {
	batchesOf(func(topic string, msg *message.Message) string { return msg.Metadata["tenant"] })
	fmt.Println("done")
	// Unordered output:
	// published to all-events in one call: 3
	// published to all-events in one call: 1
	// done
}
