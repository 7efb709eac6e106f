package events_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/measure"
	"github.com/logistically/events/internal/webhooks"
)

// orderPlaced is an event of ordinary size: anOrder encodes to 250 bytes.
type orderPlaced struct {
	OrderID    string      `json:"orderId"`
	CustomerID string      `json:"customerId"`
	PlacedAt   time.Time   `json:"placedAt"`
	Currency   string      `json:"currency"`
	Total      float64     `json:"total"`
	Items      []orderItem `json:"items"`
	Note       string      `json:"note,omitempty"`
}

type orderItem struct {
	ProductID string `json:"productId"`
	Quantity  int    `json:"quantity"`
}

var anOrder = orderPlaced{
	OrderID: "0198a1b2-7c3d-7e4f", CustomerID: "0198a1b2-5a6b-7c8d", PlacedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	Currency: "EUR", Total: 129.95, Items: []orderItem{{"p-1001", 2}, {"p-2002", 1}}, Note: "leave it at the front door",
}

func encodedOrder(tb testing.TB) []byte {
	tb.Helper()
	body, err := events.JSON.Marshal(anOrder)
	if err != nil {
		tb.Fatal(err)
	}
	if len(body) != 250 {
		tb.Fatalf("the event has %d bytes, want 250: %s", len(body), body)
	}
	return body
}

// webhook is a real event of median size, 7.5 KB.
func webhook(tb testing.TB) webhooks.Event {
	tb.Helper()
	all, err := webhooks.Load()
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range all {
		if e.Type == "commit_comment.created" && e.Valid {
			return e
		}
	}
	tb.Fatal("there is no such webhook")
	return webhooks.Event{}
}

func webhookTree(tb testing.TB) (tree map[string]any) {
	tb.Helper()
	if err := json.Unmarshal(webhook(tb).Body, &tree); err != nil {
		tb.Fatal(err)
	}
	return tree
}

func marshal(body any) measure.Operation {
	return func() error {
		_, err := events.JSON.Marshal(body)
		return err
	}
}

func unmarshal[T any](data []byte) measure.Operation {
	return func() error {
		var body T
		return events.JSON.Unmarshal(data, &body)
	}
}

func BenchmarkCodecMarshal(b *testing.B) {
	encodedOrder(b)
	b.Run("event", func(b *testing.B) { measure.Benchmark(b, marshal(anOrder)) })
	b.Run("webhook", func(b *testing.B) { measure.Benchmark(b, marshal(webhookTree(b))) })
	b.Run("webhook-raw", func(b *testing.B) { measure.Benchmark(b, marshal(webhook(b).Body)) })
}

func BenchmarkCodecUnmarshal(b *testing.B) {
	b.Run("event", func(b *testing.B) { measure.Benchmark(b, unmarshal[orderPlaced](encodedOrder(b))) })
	b.Run("webhook", func(b *testing.B) { measure.Benchmark(b, unmarshal[map[string]any](webhook(b).Body)) })
}

func makeMessage(tb testing.TB, eventType string, body any) measure.Operation {
	p := newPublisher(tb, &sink{}, events.PublisherConfig{})
	ctx := tb.Context()
	return func() error {
		_, err := p.Message(ctx, eventType, body)
		return err
	}
}

func BenchmarkPublisherMessage(b *testing.B) {
	b.Run("event", func(b *testing.B) { measure.Benchmark(b, makeMessage(b, "order.placed", anOrder)) })
	b.Run("webhook", func(b *testing.B) {
		e := webhook(b)
		measure.Benchmark(b, makeMessage(b, e.Type, e.Body))
	})
	b.Run("event-raw", func(b *testing.B) {
		measure.Benchmark(b, makeMessage(b, "order.placed", json.RawMessage(encodedOrder(b))))
	})
}

// makeMessages makes those of a hundred events in one call.
func makeMessages(tb testing.TB) measure.Operation {
	p := newPublisher(tb, &sink{}, events.PublisherConfig{})
	ctx, bodies := tb.Context(), slices.Repeat([]json.RawMessage{encodedOrder(tb)}, 100)
	return func() error {
		_, err := events.Messages(ctx, p, "order.placed", bodies)
		return err
	}
}

func BenchmarkMessages(b *testing.B) { measure.Benchmark(b, makeMessages(b)) }

// published is a message as a publisher makes it, with six header fields.
func published(tb testing.TB) *message.Message {
	tb.Helper()
	msg, err := newPublisher(tb, &sink{}, events.PublisherConfig{}).Message(tb.Context(), "order.placed", anOrder)
	if err != nil {
		tb.Fatal(err)
	}
	if len(msg.Metadata) != 6 {
		tb.Fatalf("%d header fields, want 6: %v", len(msg.Metadata), msg.Metadata)
	}
	return msg
}

func headerOf(msg *message.Message) measure.Operation {
	return func() error {
		if h := events.HeaderOf(msg); h.ID == "" || h.Time.IsZero() {
			return fmt.Errorf("incomplete: %+v", h)
		}
		return nil
	}
}

func BenchmarkHeaderOf(b *testing.B) { measure.Benchmark(b, headerOf(published(b))) }

// setHeader writes the header of msg into a message that has none.
func setHeader(msg *message.Message) measure.Operation {
	h := events.HeaderOf(msg)
	return func() error {
		var bare message.Message
		events.SetHeader(&bare, h)
		if len(bare.Metadata) != 6 {
			return fmt.Errorf("incomplete: %v", bare.Metadata)
		}
		return nil
	}
}

func BenchmarkSetHeader(b *testing.B) { measure.Benchmark(b, setHeader(published(b))) }

func decode(msg *message.Message) measure.Operation {
	return func() error {
		_, err := events.Decode[orderPlaced](msg, nil)
		return err
	}
}

func BenchmarkDecode(b *testing.B) {
	b.Run("event", func(b *testing.B) { measure.Benchmark(b, decode(published(b))) })
	msg := message.NewMessage("1", message.Payload(webhook(b).Body))
	for name, codec := range map[string]events.Codec{"webhook": nil, "webhook-standard": standard{}} {
		b.Run(name, func(b *testing.B) {
			measure.Benchmark(b, func() error {
				_, err := events.Decode[someOfAWebhook](msg, codec)
				return err
			})
		})
	}
}
