package middleware_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
)

func TestMiddlewareInTheCanonicalOrder(t *testing.T) {
	poison, err := middleware.PoisonQueue(middleware.PoisonConfig{})
	must(t, err)
	invalid := atomic.Bool{}
	validation, err := middleware.Validation(validatorFunc(func(_ context.Context, typ string, _ []byte) error {
		if invalid.Load() {
			return &events.ValidationError{Type: typ}
		}
		return nil
	}), middleware.ValidationConfig{})
	must(t, err)
	metrics, err := middleware.Metrics(middleware.MetricsConfig{})
	must(t, err)
	limiter := localLimiter(t, middleware.LocalLimiterConfig{Rate: 1e6})
	throttle, err := middleware.Throttle(middleware.ThrottleConfig{Limiter: limiter, Key: func(msg *message.Message) string { return msg.UUID }})
	must(t, err)
	store := memoryStore(t, 0)
	order := []message.HandlerMiddleware{
		middleware.Tracing(middleware.TracingConfig{}), metrics, middleware.Logging(middleware.LoggingConfig{Logger: silent}), poison, throttle,
		retry(t, middleware.RetryConfig{InitialInterval: time.Millisecond}), circuitBreaker(t, middleware.CircuitBreakerConfig{Failures: 10}),
		rateLimit(t, middleware.RateLimitConfig{Limiter: limiter}), timeout(t, time.Minute), middleware.Recoverer(), middleware.Correlation(), validation,
		idempotency(t, middleware.IdempotencyConfig{Store: store}),
	}
	chain := func(h message.HandlerFunc) message.HandlerFunc {
		for _, mw := range slices.Backward(order) {
			h = mw(h)
		}
		return h
	}
	h := &handler{errs: []error{errBoom, errBoom, errBoom, errBoom}}
	if _, err := chain(h.handle)(deliver(newMessage("1"), 1, full)); !events.IsPermanent(err) || !strings.Contains(err.Error(), "after 3 attempts") || h.runs != 3 {
		t.Errorf("got %v after %d runs", err, h.runs)
	}
	for range 2 {
		if _, err := chain(h.handle)(deliver(newMessage("1"), 1, full)); err != nil || h.runs != 5 {
			t.Errorf("got %v after %d runs", err, h.runs)
		}
	}
	invalid.Store(true)
	if _, err := chain(h.handle)(deliver(newMessage("2"), 1, full)); !events.IsPermanent(err) || h.runs != 5 || store.Len() != 1 {
		t.Errorf("got %v after %d runs", err, h.runs)
	}
}
