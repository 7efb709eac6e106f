package router

import (
	"context"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// feed is a receiver that costs nothing: it hands over n deliveries as fast as
// they are asked for.
type feed struct {
	fake
	left int
	done chan struct{}
}

func (f *feed) Receiver(...string) (transport.Receiver, error) { return f, nil }

func (f *feed) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	if f.left == 0 {
		close(f.done)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	page := make([]*transport.Delivery, min(limit, f.left))
	for i := range page {
		page[i] = delivery("service.entity.created")
	}
	f.left -= len(page)
	return page, nil
}

func (f *feed) Settle(context.Context, ...transport.Outcome) error { return nil }

// BenchmarkRun is what the router adds to each delivery, with making the
// delivery; the transport is free and the handler does nothing.
func BenchmarkRun(b *testing.B) {
	for _, lanes := range []int{1, 16} {
		b.Run(fmt.Sprintf("concurrency=%d", lanes), func(b *testing.B) {
			b.ReportAllocs()
			f := &feed{left: b.N, done: make(chan struct{})}
			r, err := New(Config{Subscriber: f, Topics: []string{"topic"}, Concurrency: lanes, Logger: quiet})
			must(b, err)
			must(b, r.HandleMessage("service.*.created", nothing))
			ctx, cancel := context.WithCancel(b.Context())
			ran := make(chan error, 1)
			b.ResetTimer()
			go func() { ran <- r.Run(ctx) }()
			<-f.done
			cancel()
			must(b, <-ran)
		})
	}
}

func BenchmarkTablePublish(b *testing.B) {
	pub := discard{}
	table := newTable(b, map[string]message.Publisher{"main": pub, "other": pub},
		Route{Pattern: "user.*", Transport: "other", Prefix: "u:"}, Route{Pattern: "pay.*", Transport: "main", Priority: PriorityHigh})
	for _, n := range []int{1, 100} {
		messages := make([]*message.Message, n)
		for i := range messages {
			messages[i] = typed("1", []string{"user.created", "order.placed"}[i%2])
		}
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := table.Publish("in", messages...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discard struct{}

func (discard) Publish(string, ...*message.Message) error { return nil }
func (discard) Close() error                              { return nil }
