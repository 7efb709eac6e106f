package validation_test

import (
	"encoding/json"
	"testing"

	"github.com/logistically/events/internal/measure"
	"github.com/logistically/events/internal/webhooks"
	"github.com/logistically/events/validation"
)

const smallOrder = `{"orderId":"o-1001","customerId":"c-2002","total":129.95,"email":"ada@example.com","at":"2026-01-02T03:04:05Z",` +
	`"items":[{"productId":"p-1","quantity":2,"price":50},{"productId":"p-2","quantity":1,"price":29.95}]}`

// smallRegistry knows one schema, of eleven properties with two formats.
func smallRegistry(tb testing.TB) *validation.Registry {
	tb.Helper()
	r := newRegistry(tb, validation.Config{})
	if err := r.AddSchema("order.created", []byte(orderCreated)); err != nil {
		tb.Fatal(err)
	}
	return r
}

// validWebhook is a real event of median size, 7.5 KB, and a registry of 121 types.
func validWebhook(tb testing.TB) (*validation.Registry, webhooks.Event) {
	tb.Helper()
	r, all := webhookRegistry(tb)
	for _, e := range all {
		if e.Type == "commit_comment.created" && e.Valid {
			return r, e
		}
	}
	tb.Fatal("there is no such webhook")
	return nil, webhooks.Event{}
}

func validate(tb testing.TB, r *validation.Registry, eventType string, body []byte) measure.Operation {
	ctx := tb.Context()
	return func() error { return r.Validate(ctx, eventType, body) }
}

// unmarshal is what validation is to be compared with.
func unmarshal(body []byte) measure.Operation {
	return func() error {
		var v any
		return json.Unmarshal(body, &v)
	}
}

func BenchmarkValidateSmall(b *testing.B) {
	compare(b, smallRegistry(b), "order.created", []byte(smallOrder))
}

func BenchmarkValidateWebhook(b *testing.B) {
	r, e := validWebhook(b)
	compare(b, r, e.Type, e.Body)
}

func compare(b *testing.B, r *validation.Registry, eventType string, body []byte) {
	b.Run("validate", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		measure.Benchmark(b, validate(b, r, eventType, body))
	})
	b.Run("unmarshal", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		measure.Benchmark(b, unmarshal(body))
	})
}
