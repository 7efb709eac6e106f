package batching_test

import (
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/batching"
)

// calls prints how many messages each Publish call has.
type calls struct{}

func (calls) Publish(topic string, msgs ...*message.Message) error {
	fmt.Println("published to", topic, "in one call:", len(msgs))
	return nil
}

func (calls) Close() error { return nil }

func Example_buffered() {
	p, err := batching.NewPublisher(calls{}, batching.Config{Mode: batching.Buffered, MaxSize: 100, MaxWait: time.Second})
	if err != nil {
		panic(err)
	}
	for range 3 {
		if err := p.Publish("user-events", message.NewMessage("", []byte("{}"))); err != nil {
			panic(err)
		}
	}
	fmt.Println("waiting:", p.MemoryStats().Messages)
	if err := p.Flush(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println("failed:", len(p.FailedMessages()))
	if err := p.Close(); err != nil {
		panic(err)
	}
	// Output:
	// waiting: 3
	// published to user-events in one call: 3
	// failed: 0
}

func Example_wait() {
	p, err := batching.NewPublisher(calls{}, batching.Config{})
	if err != nil {
		panic(err)
	}
	// Returns when the message has been published; callers at the same moment share a batch.
	fmt.Println(p.Publish("user-events", message.NewMessage("", []byte("{}"))))
	if err := p.Close(); err != nil {
		panic(err)
	}
	// Output:
	// published to user-events in one call: 1
	// <nil>
}
