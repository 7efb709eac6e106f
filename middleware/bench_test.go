package middleware_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/measure"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
	noopmetric "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace/noop"
)

type layer struct {
	name  string
	chain []message.HandlerMiddleware
}

// layers are each middleware alone, one that does nothing, and two chains in their order.
func layers(tb testing.TB) []layer {
	tb.Helper()
	poison, err := middleware.PoisonQueue(middleware.PoisonConfig{})
	must(tb, err)
	retry, err := middleware.Retry(middleware.RetryConfig{})
	must(tb, err)
	accept := validatorFunc(func(context.Context, string, []byte) error { return nil })
	validation, err := middleware.Validation(accept, middleware.ValidationConfig{})
	must(tb, err)
	all := []message.HandlerMiddleware{
		middleware.Tracing(middleware.TracingConfig{TracerProvider: noop.NewTracerProvider(), Group: "group"}),
		poison, retry, validation, once(tb),
	}
	measured, err := middleware.Metrics(middleware.MetricsConfig{MeterProvider: noopmetric.NewMeterProvider(), Group: "group"})
	must(tb, err)
	nothing := func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return next(msg) }
	}
	limited := rateLimit(tb, middleware.RateLimitConfig{Limiter: localLimiter(tb, middleware.LocalLimiterConfig{Rate: 1e9, Burst: 1 << 30})})
	one := func(mw message.HandlerMiddleware) []message.HandlerMiddleware { return []message.HandlerMiddleware{mw} }
	return []layer{
		{"none", nil}, {"nothing", one(nothing)}, {"tracing", all[:1]}, {"metrics", one(measured)},
		{"logging", one(middleware.Logging(middleware.LoggingConfig{Logger: silent, Level: slog.LevelDebug}))},
		{"correlation", one(middleware.Correlation())}, {"poison-queue", all[1:2]}, {"retry", all[2:3]},
		{"circuit-breaker", one(circuitBreaker(tb, middleware.CircuitBreakerConfig{}))}, {"rate-limit", one(limited)},
		{"timeout", one(timeout(tb, time.Minute))}, {"recoverer", one(middleware.Recoverer())},
		{"validation", all[3:4]}, {"idempotency", one(once(tb))}, {"all", all},
		{"chain", []message.HandlerMiddleware{all[0], poison, retry, timeout(tb, time.Minute), middleware.Recoverer()}},
	}
}

const keys = 4096

// once has a store of its own, which is soon full, as others are after a day:
// each new key makes it forget one.
func once(tb testing.TB) message.HandlerMiddleware {
	tb.Helper()
	store, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{MaxKeys: keys / 2})
	must(tb, err)
	mw, err := middleware.Idempotency(middleware.IdempotencyConfig{Store: store, Scope: "group"})
	must(tb, err)
	return mw
}

// around handles a delivery, with the context that package router gives it, by a
// handler that does nothing inside the chain. No id returns within keys runs.
func around(chain []message.HandlerMiddleware) measure.Operation {
	handle := func(*message.Message) ([]*message.Message, error) { return nil, nil }
	for _, mw := range slices.Backward(chain) {
		handle = mw(handle)
	}
	var ids [keys]string
	for i := range ids {
		ids[i] = fmt.Sprintf("0198a1b2-7c3d-7e4f-8a9b-%012d", i)
	}
	msg := message.NewMessage(ids[0], []byte(`{"n":1}`))
	h := events.Header{
		ID: ids[0], Type: "order.placed", Origin: "order-service", Version: events.DefaultVersion, CorrelationID: ids[0], Hash: events.Hash([]byte(`{"n":1}`)),
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	}
	events.SetHeader(msg, h)
	d := &transport.Delivery{Message: msg, Topic: "order-events", ID: "1-0", Attempt: 1}
	msg.SetContext(events.ContextWithHeader(transport.ContextWithDelivery(context.Background(), d, full), h))
	at := 0
	return func() error {
		at++
		msg.UUID = ids[at%keys]
		_, err := handle(msg)
		return err
	}
}

// warm runs op until the store that it uses is full.
func warm(tb testing.TB, op measure.Operation) measure.Operation {
	tb.Helper()
	for range keys {
		must(tb, op())
	}
	return op
}

// BenchmarkMiddleware is what each middleware adds to an event that does not fail.
func BenchmarkMiddleware(b *testing.B) {
	for _, l := range layers(b) {
		b.Run(l.name, func(b *testing.B) { measure.Benchmark(b, warm(b, around(l.chain))) })
	}
}
