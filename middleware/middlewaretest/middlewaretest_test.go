package middlewaretest_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	wmiddleware "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/middleware/middlewaretest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	handler    = message.HandlerFunc
	middle     = message.HandlerMiddleware
	message_   = message.Message
	produced   = []*message.Message
	middleFunc = func(next handler, msg *message_) (produced, error)
)

func of(fn middleFunc) middlewaretest.Build {
	return func() middle {
		return func(next handler) handler { return func(msg *message_) (produced, error) { return fn(next, msg) } }
	}
}

func TestNothingIsFoundInAMiddlewareThatDoesNothing(t *testing.T) {
	middlewaretest.Run(t, of(func(next handler, msg *message_) (produced, error) { return next(msg) }))
}

// Each broken middleware is found by the rule that it breaks.
func TestBrokenMiddlewareIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		build middlewaretest.Build
		rule  middlewaretest.Rule
	}{
		"calls twice": {of(func(next handler, msg *message_) (produced, error) {
			if out, err := next(msg); err != nil {
				return out, err
			}
			return next(msg)
		}), middlewaretest.RunsOnce},
		"never calls":            {of(func(handler, *message_) (produced, error) { return nil, nil }), middlewaretest.RunsOnce},
		"loses what is produced": {of(func(next handler, msg *message_) (produced, error) { _, err := next(msg); return nil, err }), middlewaretest.RunsOnce},
		"fails a success": {of(func(next handler, msg *message_) (produced, error) {
			out, err := next(msg)
			return out, errors.Join(err, errors.New("always"))
		}), middlewaretest.RunsOnce},
		"copies": {of(func(next handler, msg *message_) (produced, error) {
			c := msg.Copy()
			c.SetContext(msg.Context())
			return next(c)
		}), middlewaretest.SameMessage},
		"new id":          {of(func(next handler, msg *message_) (produced, error) { msg.UUID = "x"; return next(msg) }), middlewaretest.SameMessage},
		"swallows errors": {of(func(next handler, msg *message_) (produced, error) { out, _ := next(msg); return out, nil }), middlewaretest.PassesErrors},
		"another error": {of(func(next handler, msg *message_) (produced, error) {
			out, err := next(msg)
			if err != nil {
				err = errors.New("something failed: " + err.Error())
			}
			return out, err
		}), middlewaretest.PassesErrors},
		"all is permanent": {of(func(next handler, msg *message_) (produced, error) {
			out, err := next(msg)
			return out, events.Permanent(err)
		}), middlewaretest.KeepsClasses},
		"retries all": {of(func(next handler, msg *message_) (produced, error) {
			out, err := next(msg)
			if err != nil {
				out, err = next(msg)
			}
			return out, err
		}), middlewaretest.KeepsClasses},
		"swallows panics": {of(func(next handler, msg *message_) (out produced, err error) {
			defer func() { _ = recover() }()
			return next(msg)
		}), middlewaretest.SurvivesPanics},
		"keeps a lock when it panics": {func() middle {
			slot := make(chan struct{}, 1)
			return func(next handler) handler {
				return func(msg *message_) (produced, error) {
					timer := time.NewTimer(time.Hour)
					defer timer.Stop()
					select {
					case slot <- struct{}{}:
					case <-timer.C:
						return nil, errors.New("no slot")
					}
					out, err := next(msg)
					<-slot
					return out, err
				}
			}
		}, middlewaretest.SurvivesPanics},
		"context of its own": {of(func(next handler, msg *message_) (produced, error) {
			msg.SetContext(context.Background())
			return next(msg)
		}), middlewaretest.PassesContext},
		"context without cancel": {of(func(next handler, msg *message_) (produced, error) {
			msg.SetContext(context.WithoutCancel(msg.Context()))
			return next(msg)
		}), middlewaretest.PassesContext},
		"another cause": {of(func(next handler, msg *message_) (produced, error) {
			ctx, cancel := context.WithCancelCause(context.WithoutCancel(msg.Context()))
			defer cancel(nil)
			defer context.AfterFunc(msg.Context(), func() { cancel(errors.New("mine")) })()
			msg.SetContext(ctx)
			return next(msg)
		}), middlewaretest.PassesContext},
		"Watermill's timeout": {func() middle { return wmiddleware.Timeout(time.Hour) }, middlewaretest.RestoresContext},
		"acks at once":        {func() middle { return wmiddleware.InstantAck }, middlewaretest.NeverSettles},
		"nacks failures": {of(func(next handler, msg *message_) (produced, error) {
			out, err := next(msg)
			if err != nil {
				msg.Nack()
			}
			return out, err
		}), middlewaretest.NeverSettles},
		"waits for ever": {of(func(next handler, msg *message_) (produced, error) {
			if msg.Context().Err() != nil {
				<-time.After(time.Hour)
			}
			return next(msg)
		}), middlewaretest.Returns},
		"drops what is late": {of(func(next handler, msg *message_) (produced, error) {
			if msg.Context().Err() != nil {
				return nil, nil
			}
			return next(msg)
		}), middlewaretest.Returns},
		"retries after the end": {func() middle { return wmiddleware.Retry{MaxRetries: 3}.Middleware }, middlewaretest.KeepsClasses},
		"one at a time": {func() middle {
			slot := make(chan struct{}, 1)
			return func(next handler) handler {
				return func(msg *message_) (produced, error) {
					timer := time.NewTimer(time.Hour)
					defer timer.Stop()
					select {
					case slot <- struct{}{}:
					case <-timer.C:
						return nil, errors.New("no slot")
					}
					defer func() { <-slot }()
					return next(msg)
				}
			}
		}, middlewaretest.Concurrent},
		"mixes up": {func() middle {
			var mu sync.Mutex
			var last *message_
			return func(next handler) handler {
				return func(msg *message_) (produced, error) {
					mu.Lock()
					if last == nil {
						last = msg
					}
					first := last
					mu.Unlock()
					return next(first)
				}
			}
		}, middlewaretest.Concurrent},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := middlewaretest.Check(c.build)
				<-time.NewTimer(2 * time.Hour).C // What hangs does so for an hour.
				for _, e := range unjoin(err) {
					if broken, ok := errors.AsType[*middlewaretest.BrokenError](e); ok && broken.Rule == c.rule {
						return
					}
				}
				t.Errorf("rule %q does not find it; found: %v", c.rule, err)
			})
		})
	}
}

func unjoin(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return nil
}

// Those of package middleware keep the contract; the two that break a rule do so on purpose.
func TestTheMiddlewareOfThisLibraryKeepsTheContract(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	must := func(mw middle, err error) middle {
		if err != nil {
			t.Fatal(err)
		}
		return mw
	}
	limiter, err := middleware.NewLocalLimiter(middleware.LocalLimiterConfig{Rate: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	for name, build := range map[string]middlewaretest.Build{
		"tracing":         func() middle { return middleware.Tracing(middleware.TracingConfig{}) },
		"metrics":         func() middle { return must(middleware.Metrics(middleware.MetricsConfig{})) },
		"logging":         func() middle { return middleware.Logging(middleware.LoggingConfig{Logger: quiet}) },
		"correlation":     middleware.Correlation,
		"poison queue":    func() middle { return must(middleware.PoisonQueue(middleware.PoisonConfig{})) },
		"retry":           func() middle { return must(middleware.Retry(middleware.RetryConfig{})) },
		"circuit breaker": func() middle { return must(middleware.CircuitBreaker(middleware.CircuitBreakerConfig{Logger: quiet})) },
		"rate limit":      func() middle { return must(middleware.RateLimit(middleware.RateLimitConfig{Limiter: limiter})) },
		"throttle": func() middle {
			return must(middleware.Throttle(middleware.ThrottleConfig{Limiter: limiter, Key: func(msg *message_) string { return msg.UUID }}))
		},
		"timeout":   func() middle { return must(middleware.Timeout(time.Hour)) },
		"recoverer": middleware.Recoverer,
		"idempotency": func() middle {
			store, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{})
			if err != nil {
				t.Fatal(err)
			}
			return must(middleware.Idempotency(middleware.IdempotencyConfig{Store: store, Scope: "g"}))
		},
	} {
		t.Run(name, func(t *testing.T) { middlewaretest.Run(t, build) })
	}
}

func TestWithoutLeavesARuleOut(t *testing.T) {
	acks := func() middle { return wmiddleware.InstantAck }
	if err := middlewaretest.Check(acks, middlewaretest.Without(middlewaretest.NeverSettles)); err != nil {
		t.Error(err)
	}
	if err := middlewaretest.Check(acks); err == nil {
		t.Error("nothing is found")
	}
}
