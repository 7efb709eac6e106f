package batching_test

import (
	"context"
	"fmt"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/batching"
)

// Typed events, gathered into batches of one type each, and flushed.
func ExamplePublisher() {
	ctx := context.Background()
	batches, err := batching.NewPublisher(calls{}, batching.Config{
		Mode:                 batching.Buffered,
		MaxSize:              100,
		MaxWait:              time.Second,
		MaxConcurrentBatches: 5,
		Strategy:             batching.ExactType,
	})
	if err != nil {
		panic(err)
	}
	publisher, err := events.NewPublisher(batches, events.PublisherConfig{Origin: "user-service"})
	if err != nil {
		panic(err)
	}
	for _, name := range []string{"John", "Jane", "Jim"} {
		if err := publisher.Publish(ctx, "user.created", map[string]string{"name": name}); err != nil {
			panic(err)
		}
	}
	stats := batches.MemoryStats()
	fmt.Println(stats.Queues, "queue with", stats.Messages, "messages,", stats.Failed, "failed")
	fmt.Println(batches.Flush(ctx), batches.Close())
	// Output:
	// 1 queue with 3 messages, 0 failed
	// published to user-events in one call: 3
	// <nil> <nil>
}
