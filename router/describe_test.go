package router_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	watermill "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
)

// made returns what a constructor has made.
func made[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// mws are the middleware that rules know, and one more of each other kind.
type mws struct {
	tracing, poisonQueue, retry, validation, idempotency, circuitBreaker, rateLimit, timeout message.HandlerMiddleware
}

type anything struct{}

func (anything) Validate(context.Context, string, []byte) error { return nil }
func (anything) Schema(string) ([]byte, bool)                   { return nil, false }

// own is a middleware of the user's, and so is counting's method.
func own(next message.HandlerFunc) message.HandlerFunc { return next }

type counting struct{}

func (*counting) count(next message.HandlerFunc) message.HandlerFunc { return next }

func newMiddleware(t *testing.T) mws {
	t.Helper()
	of := made[message.HandlerMiddleware](t)
	store, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	limiter, err := middleware.NewLocalLimiter(middleware.LocalLimiterConfig{Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	return mws{
		tracing:        middleware.Tracing(middleware.TracingConfig{}),
		poisonQueue:    of(middleware.PoisonQueue(middleware.PoisonConfig{})),
		retry:          of(middleware.Retry(middleware.RetryConfig{})),
		validation:     of(middleware.Validation(anything{}, middleware.ValidationConfig{})),
		circuitBreaker: of(middleware.CircuitBreaker(middleware.CircuitBreakerConfig{})),
		rateLimit:      of(middleware.RateLimit(middleware.RateLimitConfig{Limiter: limiter})),
		timeout:        of(middleware.Timeout(time.Minute)),
		idempotency:    of(middleware.Idempotency(middleware.IdempotencyConfig{Store: store, Scope: "g"})),
	}
}

func describable(t *testing.T) *router.Router {
	t.Helper()
	_, pub, sub := onMemory(t)
	r := made[*router.Router](t)(router.New(router.Config{Subscriber: sub, Topics: []string{"order-events", "user-events"},
		Concurrency: 8, Prefetch: 4, HandlerTimeout: time.Minute, Weights: map[string]int{"order-events": 8}, Logger: quiet}))
	m := newMiddleware(t)
	r.Use(m.tracing, m.poisonQueue, m.retry)
	group := r.Group(m.validation, watermill.CorrelationID)
	must(t, router.Handle(r, "order.created", orderCreated, (&counting{}).count))
	must(t, group.HandleMessage("user.**", nothing, own, m.idempotency))
	lane := made[*router.Group](t)(r.Lane(router.LaneConfig{Name: "stock", Concurrency: 2, HandlerTimeout: -1,
		OrderBy: func(*message.Message) string { return "" }, KillSwitch: router.KillSwitchConfig{FailureRatio: 0.5}}))
	must(t, router.HandleBatch(lane, "order.packed", router.BatchConfig{MaxSize: 2}, ordersPacked))
	must(t, r.HandleAndPublish("order.paid", func(*message.Message) ([]*message.Message, error) { return nil, nil }, pub, "invoice-events"))
	must(t, r.Fallback(nothing))
	return r
}

func ordersPacked(context.Context, []events.Event[order]) []error { return nil }

func orderCreated(context.Context, events.Event[order]) error { return nil }
func nothing(*message.Message) error                          { return nil }

func TestDescribeSaysWhatARouterIsMadeOf(t *testing.T) {
	const want = `router on order-events, user-events by *memory.Subscriber
  drained within 30s; events without a handler: fallback
  order-events has weight 8
  lane "": 8 handlers at a time, 4 deliveries held ready, handlers have 1m0s
  lane "stock": 2 handlers at a time, 2 deliveries held ready, in order by key, paused when 0.5 of them fail
order.created -> router_test.orderCreated of router_test.order
  1 middleware.Tracing
  2 middleware.PoisonQueue
  3 middleware.Retry
  4 router_test.(*counting).count
user.** -> router_test.nothing
  1 middleware.Tracing
  2 middleware.PoisonQueue
  3 middleware.Retry
  4 middleware.Validation
  5 middleware.CorrelationID
  6 router_test.own
  7 middleware.Idempotency
order.packed -> router_test.ordersPacked of []router_test.order, in lane "stock"
  1 middleware.Tracing
  2 middleware.PoisonQueue
  3 middleware.Retry
order.paid -> router_test.describable.func2, publishes to invoice-events
  1 middleware.Tracing
  2 middleware.PoisonQueue
  3 middleware.Retry
(fallback) -> router_test.nothing
  1 middleware.Tracing
  2 middleware.PoisonQueue
  3 middleware.Retry
`
	if got := describable(t).Describe().String(); got != want {
		t.Errorf("got:\n%s", got)
	}
}

func TestDescribeAsJSONIsTheSame(t *testing.T) {
	d := describable(t).Describe()
	text := made[[]byte](t)(json.Marshal(d))
	var again router.Description
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if again.String() != d.String() || !strings.Contains(string(text), `"drain_timeout":"30s"`) {
		t.Errorf("got %s", text)
	}
}

func TestDescribeNamesWhatItCannotKnowAsWellAsItCan(t *testing.T) {
	_, _, sub := onMemory(t)
	r := made[*router.Router](t)(router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Unknown: router.AckUnknown, Logger: quiet}))
	r.Use(func(next message.HandlerFunc) message.HandlerFunc { return next })
	if err := r.HandleMessage("a", nil); err == nil {
		t.Error("a nil handler is taken")
	}
	if err := router.Handle(r, "b", func(context.Context, events.Event[map[string]any]) error { return nil }); err != nil {
		t.Fatal(err)
	}
	d := r.Describe()
	if len(d.Handlers) != 1 || d.Unknown != "ack" {
		t.Fatalf("got %+v", d)
	}
	if h := d.Handlers[0]; h.Body != "map[string]interface {}" || !strings.HasPrefix(h.Func, "router_test.TestDescribe") || h.Middleware[0] != "router_test.TestDescribeNamesWhatItCannotKnowAsWellAsItCan" {
		t.Errorf("got %+v", h)
	}
}
