package memory_test

import (
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/measure"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

func newMessages(n int) []*message.Message {
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = message.NewMessage(fmt.Sprint(i), make([]byte, 250))
		events.SetHeader(messages[i], events.Header{ID: messages[i].UUID, Type: "order.placed", Origin: "o", Version: "1.0.0", CorrelationID: "c", Hash: "h"})
	}
	return messages
}

func newPublisher(tb testing.TB, broker *memory.Broker) *memory.Publisher {
	tb.Helper()
	p, err := memory.NewPublisher(broker)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// publish publishes n messages in one call. A topic keeps them all, so there is a
// new broker after every 30 000 messages.
func publish(tb testing.TB, n int) measure.Operation {
	var p *memory.Publisher
	left, messages := 0, newMessages(n)
	return func() error {
		if left -= n; left < 0 {
			p, left = newPublisher(tb, memory.NewBroker(memory.BrokerConfig{})), 30_000
		}
		return p.Publish("t", messages...)
	}
}

// publishFull publishes to a topic that drops a message for every new one.
func publishFull(tb testing.TB, maxLen int) measure.Operation {
	p := newPublisher(tb, memory.NewBroker(memory.BrokerConfig{MaxLen: maxLen}))
	one := newMessages(1)
	if err := p.Publish("t", newMessages(maxLen)...); err != nil {
		tb.Fatal(err)
	}
	return func() error { return p.Publish("t", one...) }
}

func BenchmarkPublish(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) { measure.Benchmark(b, publish(b, n)) })
	}
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("full=%d", n), func(b *testing.B) { measure.Benchmark(b, publishFull(b, n)) })
	}
}

const pageSize = 100

// stocked returns a receiver on a topic that holds pages of messages.
func stocked(tb testing.TB, pages int) transport.Receiver {
	tb.Helper()
	broker := memory.NewBroker(memory.BrokerConfig{})
	p, page := newPublisher(tb, broker), newMessages(pageSize)
	for range pages {
		if err := p.Publish("t", page...); err != nil {
			tb.Fatal(err)
		}
	}
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
	if err != nil {
		tb.Fatal(err)
	}
	r, err := sub.Receiver("t")
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// receivePage receives a page and acks it.
func receivePage(tb testing.TB, r transport.Receiver) measure.Operation {
	ctx, outcomes := tb.Context(), make([]transport.Outcome, pageSize)
	return func() error {
		page, err := r.Receive(ctx, pageSize)
		if err != nil {
			return err
		}
		if len(page) != pageSize {
			return fmt.Errorf("a page of %d, want %d", len(page), pageSize)
		}
		for i, d := range page {
			outcomes[i] = d.Ack()
		}
		return r.Settle(ctx, outcomes...)
	}
}

// BenchmarkReceive receives and acks a page of 100.
func BenchmarkReceive(b *testing.B) {
	const pages = 100
	b.ReportAllocs()
	left, op := 0, measure.Operation(nil)
	for b.Loop() {
		if left == 0 {
			b.StopTimer()
			left, op = pages, receivePage(b, stocked(b, pages))
			b.StartTimer()
		}
		left--
		if err := op(); err != nil {
			b.Fatal(err)
		}
	}
}
