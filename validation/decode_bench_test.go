package validation_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/measure"
	"github.com/logistically/events/validation"
)

// What a handler of a webhook takes from it: some members of hundreds.
type commitComment struct {
	Action  string `json:"action"`
	Comment struct {
		ID        int64     `json:"id"`
		Body      string    `json:"body"`
		CreatedAt time.Time `json:"created_at"`
		User      struct {
			Login string `json:"login"`
		} `json:"user"`
	} `json:"comment"`
	Repository struct {
		FullName string `json:"full_name"`
		Private  bool   `json:"private"`
	} `json:"repository"`
}

// decodes decodes a body into T, as router.Handle does: from its text, or from
// what validation has made of it.
func decodes[T any](tb testing.TB, r *validation.Registry, eventType string, body []byte, parsed bool) measure.Operation {
	tb.Helper()
	msg := message.NewMessage("1", body)
	if parsed {
		value, ok, err := r.Parse(tb.Context(), eventType, body)
		if err != nil || !ok {
			tb.Fatalf("not parsed: %v", err)
		}
		msg.SetContext(events.ContextWithParsedBody(tb.Context(), body, value))
	}
	return func() error {
		_, err := events.Decode[T](msg, nil)
		return err
	}
}

// What it saves not to parse again for the handler's type (decision 0031),
// beside what parsing and validating costs.
func BenchmarkTypedDecode(b *testing.B) {
	r, e := validWebhook(b)
	b.Run("webhook/validate", func(b *testing.B) { measure.Benchmark(b, validate(b, r, e.Type, e.Body)) })
	b.Run("webhook/again", func(b *testing.B) { measure.Benchmark(b, decodes[commitComment](b, r, e.Type, e.Body, false)) })
	b.Run("webhook/parsed", func(b *testing.B) { measure.Benchmark(b, decodes[commitComment](b, r, e.Type, e.Body, true)) })
	small, body := smallRegistry(b), []byte(smallOrder)
	b.Run("small/validate", func(b *testing.B) { measure.Benchmark(b, validate(b, small, "order.created", body)) })
	b.Run("small/again", func(b *testing.B) {
		measure.Benchmark(b, decodes[orderCreatedBody](b, small, "order.created", body, false))
	})
	b.Run("small/parsed", func(b *testing.B) {
		measure.Benchmark(b, decodes[orderCreatedBody](b, small, "order.created", body, true))
	})
}

func TestWhatIsParsedIsNotParsedAgain(t *testing.T) {
	r, e := validWebhook(t)
	small, body := smallRegistry(t), []byte(smallOrder)
	for name, ops := range map[string][2]measure.Operation{
		"webhook":     {decodes[commitComment](t, r, e.Type, e.Body, true), decodes[commitComment](t, r, e.Type, e.Body, false)},
		"small event": {decodes[orderCreatedBody](t, small, "order.created", body, true), decodes[orderCreatedBody](t, small, "order.created", body, false)},
	} {
		best := fastest(t, 60, 20, ops[:]...)
		t.Logf("%s: decode what was parsed %v, the text again %v: %.2f x", name, best[0], best[1], float64(best[0])/float64(best[1]))
		if best[0] > best[1] {
			t.Errorf("%s: from what was parsed %v, from the text %v", name, best[0], best[1])
		}
	}
}
