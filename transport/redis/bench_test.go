package redis_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/measure"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// headed is a message of 250 bytes with the six header fields of a published one.
func headed() *message.Message {
	body := []byte(`{"note":"` + strings.Repeat("x", 239) + `"}`)
	msg := message.NewMessage("", body)
	const id = "0198a1b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
	events.SetHeader(msg, events.Header{
		ID: id, Type: "order.placed", Origin: "order-service", Time: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC),
		Hash: events.Hash(body), Version: events.DefaultVersion, CorrelationID: id,
	})
	return msg
}

func encode(msg *message.Message) measure.Operation {
	return func() error {
		_, err := redis.Encode(msg)
		return err
	}
}

func BenchmarkEncode(b *testing.B) { measure.Benchmark(b, encode(headed())) }

// decode reads an entry as go-redis hands it over: all values are strings.
func decode(tb testing.TB, msg *message.Message) measure.Operation {
	tb.Helper()
	pairs, err := redis.Encode(msg)
	if err != nil {
		tb.Fatal(err)
	}
	values := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		values[fmt.Sprint(pairs[i])] = fmt.Sprintf("%s", pairs[i+1])
	}
	return func() error {
		got, err := redis.Decode(values)
		if err == nil && len(got.Metadata) != len(msg.Metadata) {
			return fmt.Errorf("decoded %v, want %v", got.Metadata, msg.Metadata)
		}
		return err
	}
}

func BenchmarkDecode(b *testing.B) { measure.Benchmark(b, decode(b, headed())) }

// facade is a typed publisher over the fixture's.
func (f *fixture) facade() *events.Publisher {
	f.t.Helper()
	facade, err := events.NewPublisher(f.pub, events.PublisherConfig{Origin: "order-service"})
	f.check(err)
	return facade
}

func (f *fixture) publishOne() measure.Operation {
	f.t.Helper()
	facade, ctx, body := f.facade(), f.t.Context(), json.RawMessage(headed().Payload)
	f.check(facade.Publish(ctx, "published.one", body)) // makes the connection
	return func() error { return facade.Publish(ctx, "published.one", body) }
}

func (f *fixture) publishHundred() measure.Operation {
	f.t.Helper()
	facade, ctx, body := f.facade(), f.t.Context(), json.RawMessage(headed().Payload)
	return func() error {
		msgs := make([]*message.Message, 100)
		for i := range msgs {
			var err error
			if msgs[i], err = facade.Message(ctx, "published.many", body); err != nil {
				return err
			}
		}
		return f.pub.Publish("published-many", msgs...)
	}
}

// consumeHundred receives from a topic that has as much as one measurement takes.
func (f *fixture) consumeHundred() measure.Operation {
	f.t.Helper()
	const count = 100
	msgs := make([]*message.Message, count)
	for i := range msgs {
		msgs[i] = headed()
	}
	for range measure.Runs {
		f.check(f.pub.Publish("t", msgs...))
	}
	r, ctx := f.receiver(redis.SubscriberConfig{}), f.t.Context()
	outcomes := make([]transport.Outcome, 0, count)
	return func() error {
		for left := count; left > 0; {
			page, err := r.Receive(ctx, left)
			if err != nil {
				return err
			}
			left -= len(page)
			outcomes = outcomes[:0]
			for _, d := range page {
				if h := events.HeaderOf(d.Message); h.Hash == "" || h.Time.IsZero() {
					return fmt.Errorf("incomplete: %+v", h)
				}
				outcomes = append(outcomes, d.Ack())
			}
			if err := r.Settle(ctx, outcomes...); err != nil {
				return err
			}
		}
		return nil
	}
}
