package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	wmiddleware "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

func circuitBreaker(t testing.TB, cfg middleware.CircuitBreakerConfig) message.HandlerMiddleware {
	t.Helper()
	cfg.Logger = silent
	mw, err := middleware.CircuitBreaker(cfg)
	must(t, err)
	return mw
}

// service is what handlers depend on; it is away for a time.
type service struct {
	mu    sync.Mutex
	back  time.Time
	calls []time.Time // while it was away
	done  map[string]int
}

func (s *service) handle(msg *message.Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Before(s.back) {
		s.calls = append(s.calls, now)
		return errors.New("service is away")
	}
	s.done[msg.UUID]++
	return nil
}

func awayUntil(back time.Time) *service { return &service{back: back, done: map[string]int{}} }

func numbered(n int) (all []*message.Message) {
	for i := range n {
		all = append(all, newMessage(fmt.Sprint(i)))
	}
	return all
}

// P17: in the peer, an open circuit sends each message to the poison queue.
func TestP17_AnOpenCircuitPausesAndEmptiesNothingIntoTheDeadLetters(t *testing.T) {
	for _, concurrency := range []int{1, 16} {
		t.Run(fmt.Sprint(concurrency), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := memory.NewBroker(memory.BrokerConfig{})
				pub, err := memory.NewPublisher(broker)
				must(t, err)
				sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
				must(t, err)
				r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}, Concurrency: concurrency, Logger: silent})
				must(t, err)
				r.Use(poisonQueue(t, middleware.PoisonConfig{}), retry(t, middleware.RetryConfig{}), circuitBreaker(t, middleware.CircuitBreakerConfig{}), timeout(t, time.Minute))
				away := awayUntil(time.Now().Add(10 * time.Minute))
				must(t, r.HandleMessage("user.created", away.handle))
				const n = 500
				must(t, pub.Publish("user-events", numbered(n)...))
				ctx, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				must(t, r.Run(ctx))
				if len(away.done) != n || broker.Unsettled("user-events", "g") != 0 {
					t.Errorf("%d of %d are handled, %d unsettled", len(away.done), n, broker.Unsettled("user-events", "g"))
				}
				if letters := broker.Messages(transport.DeadLetterTopic("user-events")); len(letters) != 0 {
					t.Errorf("%d dead letters", len(letters))
				}
				// The first failures, and one try each 10 s for 10 minutes.
				if calls := len(away.calls); calls < 60 || calls > 60+concurrency+3 {
					t.Errorf("the service was called %d times while it was away", calls)
				}
			})
		})
	}
}

// The same in Watermill's router, by its own poison queue with the documented filter
// and by ours, until the outage ends; and amid an outage that the router does not outlive.
func TestP17_AnOpenCircuitPoisonsNothingInWatermillsRouter(t *testing.T) {
	theirs := func(pub message.Publisher) message.HandlerMiddleware {
		mw, err := wmiddleware.PoisonQueueWithFilter(pub, "dead", func(err error) bool { return !errors.Is(err, middleware.ErrCircuitOpen) })
		must(t, err)
		return mw
	}
	ours := func(pub message.Publisher) message.HandlerMiddleware {
		return poisonQueue(t, middleware.PoisonConfig{Publisher: pub, Topic: "dead"})
	}
	for name, poison := range map[string]func(message.Publisher) message.HandlerMiddleware{"Watermill's poison queue": theirs, "ours": ours} {
		for _, outage := range []time.Duration{5 * time.Minute, 24 * time.Hour} {
			t.Run(fmt.Sprint(name, ", away for ", outage), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					broker := memory.NewBroker(memory.BrokerConfig{})
					pub, err := memory.NewPublisher(broker)
					must(t, err)
					sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
					must(t, err)
					r, err := message.NewRouter(message.RouterConfig{CloseTimeout: time.Minute}, watermill.NopLogger{})
					must(t, err)
					r.AddMiddleware(poison(pub), retry(t, middleware.RetryConfig{}), circuitBreaker(t, middleware.CircuitBreakerConfig{}))
					away := awayUntil(time.Now().Add(outage))
					r.AddConsumerHandler("h", "user-events", sub, away.handle)
					const n = 20
					must(t, pub.Publish("user-events", numbered(n)...))
					ran := make(chan error, 1)
					ctx, stop := context.WithTimeout(t.Context(), time.Hour)
					defer stop()
					go func() { ran <- r.Run(ctx) }()
					must(t, <-ran)
					must(t, sub.Close())
					if letters := broker.Messages("dead"); len(letters) != 0 {
						t.Errorf("%d messages in the poison queue", len(letters))
					}
					if handled, unsettled := len(away.done), broker.Unsettled("user-events", "g"); handled+unsettled != n || (outage < time.Hour) != (handled == n) {
						t.Errorf("%d are handled, %d unsettled of %d", handled, unsettled, n)
					}
				})
			})
		}
	}
}

func TestCircuitBreakerTriesAnotherMessageWhenOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw := circuitBreaker(t, middleware.CircuitBreakerConfig{})
		bad := func(*message.Message) ([]*message.Message, error) { return nil, errBoom }
		good := &handler{}
		for range 2 {
			if _, err := mw(bad)(deliver(newMessage("bad"), 1, full)); err != errBoom {
				t.Fatalf("before it opens: %v", err)
			}
		}
		begun := time.Now()
		_, err := mw(bad)(deliver(newMessage("bad"), 1, full)) // opens, waits, and is tried
		if wait, _ := events.RetryDelay(err); !events.IsSnooze(err) || !errors.Is(err, middleware.ErrCircuitOpen) || !errors.Is(err, errBoom) || wait != 10*time.Second || time.Since(begun) < 10*time.Second || time.Since(begun) > 11*time.Second {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
		_, err = mw(good.handle)(deliver(newMessage("good"), 1, full))
		if took := time.Since(begun); err != nil || took < 20*time.Second || took > 21*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
		if _, err := mw(bad)(deliver(newMessage("bad"), 1, full)); err != errBoom { // closed again
			t.Errorf("got %v", err)
		}
	})
}

func TestCircuitBreakerCountsWhatSaysSomethingOfTheService(t *testing.T) {
	for name, c := range map[string]struct {
		cfg   middleware.CircuitBreakerConfig
		err   error
		opens bool
	}{
		"failures":    {err: errBoom, opens: true},
		"later":       {err: events.RetryAfter(time.Minute, errBoom), opens: true},
		"permanent":   {err: events.Permanent(errBoom)},
		"discard":     {err: events.Discard(errBoom)},
		"snooze":      {err: events.Snooze(time.Minute, errBoom)},
		"not counted": {cfg: middleware.CircuitBreakerConfig{IsFailure: func(err error) bool { return !errors.Is(err, errBoom) }}, err: errBoom},
		"counted":     {cfg: middleware.CircuitBreakerConfig{IsFailure: events.IsPermanent}, err: events.Permanent(errBoom), opens: true},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := circuitBreaker(t, c.cfg)((&handler{errs: slices.Repeat([]error{c.err}, 50)}).handle)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			opened := false
			for range 10 {
				msg := newMessage("1")
				msg.SetContext(ctx)
				_, err := h(msg)
				opened = opened || errors.Is(err, middleware.ErrCircuitOpen)
			}
			if opened != c.opens {
				t.Errorf("%s: opened %v", name, opened)
			}
		})
	}
}

func TestCircuitBreakerWaitsNoLongerThanTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw := circuitBreaker(t, middleware.CircuitBreakerConfig{Failures: 1, OpenFor: time.Hour})
		for _, cause := range []error{events.ErrReleased, transport.ErrLeaseLost, events.Discard(errBoom)} {
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
			msg := deliver(newMessage("1"), 1, full)
			msg.SetContext(ctx)
			runs := 0
			_, err := mw(func(*message.Message) ([]*message.Message, error) { runs++; return nil, errBoom })(msg)
			if runs > 1 || !events.IsSnooze(err) || !errors.Is(err, middleware.ErrCircuitOpen) {
				t.Errorf("%v: got %v after %d runs", cause, err, runs)
			}
			cancel()
		}
	})
}

func TestCircuitBreakerCountsAPanicAndLetsItPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw := circuitBreaker(t, middleware.CircuitBreakerConfig{Failures: 1, OpenFor: time.Minute})
		func() {
			defer func() {
				if recover() != "ouch" {
					t.Error("the panic is gone")
				}
			}()
			_, _ = mw(func(*message.Message) ([]*message.Message, error) { panic("ouch") })(newMessage("1"))
		}()
		begun := time.Now()
		if _, err := mw((&handler{}).handle)(newMessage("2")); err != nil || time.Since(begun) < time.Minute {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
	})
}

func TestAnOpenCircuitOpensTheKillSwitch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memory.NewBroker(memory.BrokerConfig{})
		pub, err := memory.NewPublisher(broker)
		must(t, err)
		sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
		must(t, err)
		opened := 0
		r, err := router.New(router.Config{
			Subscriber: sub, Topics: []string{"user-events"}, Concurrency: 1, Logger: silent,
			KillSwitch: router.KillSwitchConfig{FailureRatio: 1, OpenOn: func(err error) bool {
				is := errors.Is(err, middleware.ErrCircuitOpen)
				if is {
					opened++
				}
				return is
			}},
		})
		must(t, err)
		r.Use(poisonQueue(t, middleware.PoisonConfig{}), retry(t, middleware.RetryConfig{}), circuitBreaker(t, middleware.CircuitBreakerConfig{}))
		away := awayUntil(time.Now().Add(10 * time.Minute))
		must(t, r.HandleMessage("user.created", away.handle))
		must(t, pub.Publish("user-events", numbered(50)...))
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		must(t, r.Run(ctx))
		if len(away.done) != 50 || len(broker.Messages(transport.DeadLetterTopic("user-events"))) != 0 || opened == 0 {
			t.Errorf("%d are handled, the switch was opened %d times", len(away.done), opened)
		}
	})
}

func TestCircuitBreakerRefuses(t *testing.T) {
	for name, cfg := range map[string]middleware.CircuitBreakerConfig{
		"failures": {Failures: -1}, "too many": {Failures: math.MaxInt}, "open for": {OpenFor: -1},
	} {
		_, err := middleware.CircuitBreaker(cfg)
		wantConfigError(t, name, err)
	}
}
