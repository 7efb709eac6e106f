package middleware_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wmiddleware "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/memory"
	"github.com/sony/gobreaker"
)

// host runs a handler in middleware over a broker, from "in" to "out", until ctx ends.
type host func(t *testing.T, ctx context.Context, sub message.Subscriber, pub message.Publisher, mw message.HandlerMiddleware, h message.HandlerFunc)

func inOurRouter(t *testing.T, ctx context.Context, sub message.Subscriber, pub message.Publisher, mw message.HandlerMiddleware, h message.HandlerFunc) {
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"in"}, Logger: silent})
	must(t, err)
	must(t, r.HandleAndPublish("user.created", h, pub, "out", mw))
	must(t, r.Run(ctx))
}

func inWatermillsRouter(t *testing.T, ctx context.Context, sub message.Subscriber, pub message.Publisher, mw message.HandlerMiddleware, h message.HandlerFunc) {
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Minute}, watermill.NopLogger{})
	must(t, err)
	r.AddMiddleware(mw)
	r.AddHandler("h", "in", sub, "out", keepOpen{pub}, h)
	must(t, r.Run(ctx))
}

// All of Watermill's middleware and all of this package, alone, in both routers: each
// message ends at the out topic, or, by a poison queue, at that one. One handler fails at
// first, where the middleware does not make that a loss by design.
func TestAllMiddlewareRunsInBothRouters(t *testing.T) {
	second := func(mw message.HandlerMiddleware, err error) message.HandlerMiddleware { must(t, err); return mw }
	type build func(pub message.Publisher) message.HandlerMiddleware
	plain := func(mw message.HandlerMiddleware) build {
		return func(message.Publisher) message.HandlerMiddleware { return mw }
	}
	limiter := func() middleware.Limiter { return localLimiter(t, middleware.LocalLimiterConfig{Rate: 10}) }
	for name, c := range map[string]struct {
		build  build
		losing bool // of what fails, by design
	}{
		"Watermill CircuitBreaker": {plain(wmiddleware.NewCircuitBreaker(gobreaker.Settings{}).Middleware), false},
		"Watermill CorrelationID":  {plain(wmiddleware.CorrelationID), false},
		"Watermill Deduplicator": {func(message.Publisher) message.HandlerMiddleware {
			return (&wmiddleware.Deduplicator{KeyFactory: wmiddleware.NewMessageHasherSHA256(1024), Repository: &knownKeys{}, Timeout: time.Second}).Middleware
		}, true},
		"Watermill DelayOnError": {plain((&wmiddleware.DelayOnError{InitialInterval: time.Second, MaxInterval: time.Minute, Multiplier: 2}).Middleware), false},
		"Watermill Duplicator":   {plain(wmiddleware.Duplicator), false},
		"Watermill IgnoreErrors": {plain(wmiddleware.NewIgnoreErrors([]error{errBoom}).Middleware), true},
		"Watermill InstantAck":   {plain(wmiddleware.InstantAck), true},
		"Watermill PoisonQueue": {func(pub message.Publisher) message.HandlerMiddleware {
			return second(wmiddleware.PoisonQueue(pub, "dead"))
		}, false},
		"Watermill RandomFail": {plain(wmiddleware.RandomFail(0.2)), false},
		"Watermill Recoverer":  {plain(wmiddleware.Recoverer), false},
		"Watermill Retry":      {plain(wmiddleware.Retry{MaxRetries: 3, InitialInterval: time.Second, MaxInterval: time.Second, Multiplier: 1}.Middleware), false},
		"Watermill Throttle": {func(message.Publisher) message.HandlerMiddleware {
			return wmiddleware.NewThrottle(10, time.Second).Middleware
		}, false},
		"Watermill Timeout": {plain(wmiddleware.Timeout(time.Minute)), false},

		"Tracing":     {plain(middleware.Tracing(middleware.TracingConfig{})), false},
		"Metrics":     {plain(second(middleware.Metrics(middleware.MetricsConfig{}))), false},
		"Logging":     {plain(middleware.Logging(middleware.LoggingConfig{Logger: silent})), false},
		"Correlation": {plain(middleware.Correlation()), false},
		"PoisonQueue": {func(pub message.Publisher) message.HandlerMiddleware {
			return second(middleware.PoisonQueue(middleware.PoisonConfig{Publisher: pub, Topic: "dead"}))
		}, false},
		"Retry": {plain(second(middleware.Retry(middleware.RetryConfig{}))), false},
		"CircuitBreaker": {func(message.Publisher) message.HandlerMiddleware {
			return circuitBreaker(t, middleware.CircuitBreakerConfig{Failures: 1})
		}, false},
		"RateLimit": {func(message.Publisher) message.HandlerMiddleware {
			return rateLimit(t, middleware.RateLimitConfig{Limiter: limiter()})
		}, false},
		"Throttle": {func(message.Publisher) message.HandlerMiddleware {
			return second(middleware.Throttle(middleware.ThrottleConfig{Limiter: limiter(), Key: func(msg *message.Message) string { return "k" }}))
		}, false},
		"Timeout":    {plain(second(middleware.Timeout(time.Minute))), false},
		"Recoverer":  {plain(middleware.Recoverer()), false},
		"Validation": {plain(second(middleware.Validation(validatorFunc(func(context.Context, string, []byte) error { return nil }), middleware.ValidationConfig{}))), false},
		"Upcast": {plain(second(middleware.Upcast(upcasterFunc(func(_, _ string, body []byte) ([]byte, string, error) {
			return body, "2.0.0", nil
		})))), false},
		"Idempotency": {func(message.Publisher) message.HandlerMiddleware {
			return idempotency(t, middleware.IdempotencyConfig{Store: memoryStore(t, 0)})
		}, false},
	} {
		for where, run := range map[string]host{"our router": inOurRouter, "Watermill's router": inWatermillsRouter} {
			t.Run(name+" in "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { runIn(t, run, c.build, !c.losing) })
			})
		}
	}
}

func runIn(t *testing.T, run host, build func(message.Publisher) message.HandlerMiddleware, flaky bool) {
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	must(t, err)
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
	must(t, err)
	const n = 5
	for i := range n {
		msg := newMessage(fmt.Sprint(i))
		msg.Payload = []byte(fmt.Sprintf(`{"n":%d}`, i))
		must(t, pub.Publish("in", msg))
	}
	failed := make(chan struct{}, 1)
	ctx, stop := context.WithTimeout(t.Context(), time.Hour)
	defer stop()
	run(t, ctx, sub, pub, build(pub), func(msg *message.Message) ([]*message.Message, error) {
		if flaky && msg.UUID == "2" {
			select {
			case failed <- struct{}{}:
				return nil, errBoom
			default:
			}
		}
		return []*message.Message{message.NewMessage("of "+msg.UUID, nil)}, nil
	})
	must(t, sub.Close())
	var got []string
	for _, msg := range broker.Messages("out") {
		got = append(got, msg.UUID)
	}
	for _, msg := range append(broker.Messages("dead"), broker.Messages("{in}:dead-letters")...) {
		got = append(got, "of "+msg.UUID)
	}
	slices.Sort(got)
	if got = slices.Compact(got); len(got) != n {
		t.Errorf("ended: %q", got)
	}
	if left := broker.Unsettled("in", "g"); left != 0 {
		t.Errorf("%d messages are left", left)
	}
}

// knownKeys is a repository of Watermill's deduplicator.
type knownKeys struct{ sync.Map }

func (k *knownKeys) IsDuplicate(_ context.Context, key string) (bool, error) {
	_, known := k.LoadOrStore(key, true)
	return known, nil
}
