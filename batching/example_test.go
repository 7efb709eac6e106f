package batching_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
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

// moody is a transport that fails once.
type moody struct{ calls int }

func (m *moody) Publish(topic string, msgs ...*message.Message) error {
	if m.calls++; m.calls == 1 {
		bad := msgs[1]
		return &events.PublishError{Topic: topic, Total: len(msgs), Failed: []events.FailedMessage{{Topic: topic, Message: bad, Err: errors.New("try later")}}}
	}
	for _, msg := range msgs {
		fmt.Println("sent again:", msg.UUID)
	}
	return nil
}

func (*moody) Close() error { return nil }

// Only what failed is sent again.
func ExamplePublisher_RetryFailed() {
	p, err := batching.NewPublisher(&moody{}, batching.Config{Mode: batching.Buffered, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	for _, id := range []string{"1", "2", "3"} {
		if err := p.Publish("user-events", message.NewMessage(id, []byte("{}"))); err != nil {
			panic(err)
		}
	}
	fmt.Println(p.Flush(context.Background()))
	for _, failed := range p.FailedMessages() {
		fmt.Println("failed:", failed.Message.UUID, "because:", failed.Err)
	}
	fmt.Println(p.RetryFailed(context.Background()), len(p.FailedMessages()))
	if err := p.Close(); err != nil {
		panic(err)
	}
	// Output:
	// publish to "user-events": 1 of 1 messages failed:  2: try later
	// failed: 2 because: try later
	// sent again: 2
	// <nil> 0
}

// A call in Wait mode is told which of its messages failed.
func ExamplePublisher_Publish() {
	p, err := batching.NewPublisher(&moody{}, batching.Config{})
	if err != nil {
		panic(err)
	}
	msgs := []*message.Message{message.NewMessage("1", nil), message.NewMessage("2", nil), message.NewMessage("3", nil)}
	if failed, ok := errors.AsType[*events.PublishError](p.Publish("user-events", msgs...)); ok {
		for _, f := range failed.Failed {
			fmt.Println("failed:", f.Message.UUID, "because:", f.Err)
		}
	}
	if err := p.Close(); err != nil {
		panic(err)
	}
	// Output:
	// failed: 2 because: try later
}
