package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
)

func localLimiter(t testing.TB, cfg middleware.LocalLimiterConfig) *middleware.LocalLimiter {
	t.Helper()
	l, err := middleware.NewLocalLimiter(cfg)
	must(t, err)
	return l
}

func rateLimit(t testing.TB, cfg middleware.RateLimitConfig) message.HandlerMiddleware {
	t.Helper()
	mw, err := middleware.RateLimit(cfg)
	must(t, err)
	return mw
}

func TestRateLimitSpacesTheRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw := rateLimit(t, middleware.RateLimitConfig{Limiter: localLimiter(t, middleware.LocalLimiterConfig{Rate: 10, Burst: 5})})
		begun := time.Now()
		var mu sync.Mutex
		var at []time.Duration
		var all sync.WaitGroup
		for range 25 {
			all.Go(func() {
				_, err := mw(func(*message.Message) ([]*message.Message, error) {
					mu.Lock()
					defer mu.Unlock()
					at = append(at, time.Since(begun))
					return nil, nil
				})(deliver(newMessage("1"), 1, full))
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i, got := range at {
			if want := time.Duration(max(i-4, 0)) * 100 * time.Millisecond; got < want || got > want+time.Millisecond {
				t.Errorf("run %d after %v, want %v", i, got, want)
			}
		}
	})
}

func TestRateLimitPutsOffWhatWouldWaitForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw := rateLimit(t, middleware.RateLimitConfig{Limiter: localLimiter(t, middleware.LocalLimiterConfig{Rate: 0.1}), MaxWait: 9 * time.Second})
		h := &handler{}
		_, err := mw(h.handle)(deliver(newMessage("1"), 1, full))
		must(t, err)
		_, err = mw(h.handle)(deliver(newMessage("2"), 1, full))
		if wait, _ := events.RetryDelay(err); h.runs != 1 || !events.IsSnooze(err) || !errors.Is(err, middleware.ErrRateLimited) || wait != 10*time.Second {
			t.Errorf("got %v after %d runs", err, h.runs)
		}
		// What was put off took no turn. In Watermill's router it waits.
		begun := time.Now()
		_, err = mw(h.handle)(newMessage("3"))
		if err != nil || h.runs != 2 || time.Since(begun) != 10*time.Second {
			t.Errorf("got %v after %d runs and %v", err, h.runs, time.Since(begun))
		}
	})
}

func TestRateLimitStopsWaitingWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw := rateLimit(t, middleware.RateLimitConfig{Limiter: localLimiter(t, middleware.LocalLimiterConfig{Rate: 1})})
		h := &handler{}
		_, err := mw(h.handle)(newMessage("1"))
		must(t, err)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, events.ErrReleased)
		defer cancel()
		msg := newMessage("2")
		msg.SetContext(ctx)
		if _, err := mw(h.handle)(msg); h.runs != 1 || !events.IsSnooze(err) || !errors.Is(err, events.ErrReleased) {
			t.Errorf("got %v after %d runs", err, h.runs)
		}
	})
}

func TestThrottleHoldsUpOneKeyOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw, err := middleware.Throttle(middleware.ThrottleConfig{
			Limiter: localLimiter(t, middleware.LocalLimiterConfig{Rate: 1, Burst: 2}),
			Key:     func(msg *message.Message) string { return msg.Metadata["customer"] },
		})
		must(t, err)
		runs := map[string]int{}
		handle := mw(func(msg *message.Message) ([]*message.Message, error) {
			runs[msg.Metadata["customer"]]++
			return nil, nil
		})
		for range 10 {
			for _, customer := range []string{"busy", "busy", "", "calm"} {
				msg := deliver(newMessage("1"), 1, full)
				msg.Metadata["customer"] = customer
				_, err := handle(msg)
				if wait, _ := events.RetryDelay(err); err != nil && (customer != "busy" || !events.IsSnooze(err) || wait <= 0 || wait > time.Second) {
					t.Errorf("%q: %v", customer, err)
				}
			}
			timer := time.NewTimer(time.Second)
			<-timer.C
		}
		if runs["busy"] != 11 || runs[""] != 10 || runs["calm"] != 10 { // a burst of 2, then one a second
			t.Errorf("runs %v", runs)
		}
	})
}

// limiterFunc is a Limiter.
type limiterFunc func(ctx context.Context) (time.Duration, bool, error)

func (f limiterFunc) Take(ctx context.Context, _ string, _ time.Duration) (time.Duration, bool, error) {
	return f(ctx)
}

func TestALimiterThatIsDownOrSlowLosesNothing(t *testing.T) {
	down := errors.New("limiter is down")
	for name, limiter := range map[string]middleware.Limiter{
		"down":             limiterFunc(func(context.Context) (time.Duration, bool, error) { return 0, false, down }),
		"down, to discard": limiterFunc(func(context.Context) (time.Duration, bool, error) { return 0, true, events.Discard(down) }),
		"slow": limiterFunc(func(ctx context.Context) (time.Duration, bool, error) {
			<-ctx.Done()
			return 0, false, fmt.Errorf("%w: %w", down, ctx.Err())
		}),
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			cfg := middleware.RateLimitConfig{Limiter: limiter, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			throttle, err := middleware.Throttle(middleware.ThrottleConfig{Limiter: limiter, Key: func(*message.Message) string { return "k" }})
			must(t, err)
			for kind, mw := range map[string]message.HandlerMiddleware{"rate limit": rateLimit(t, cfg), "throttle": throttle} {
				h := &handler{}
				begun := time.Now()
				_, err := mw(h.handle)(deliver(newMessage("1"), 1, full))
				if h.runs != 0 || !events.IsSnooze(err) || events.IsDiscard(err) || !strings.Contains(err.Error(), "limiter is down") || time.Since(begun) > time.Second {
					t.Errorf("%s, %s: got %v after %d runs and %v", name, kind, err, h.runs, time.Since(begun))
				}
			}
			cfg.FailOpen = true
			h := &handler{}
			if _, err := rateLimit(t, cfg)(h.handle)(deliver(newMessage("1"), 1, full)); err != nil || h.runs != 1 || !strings.Contains(log.String(), "limiter is down") {
				t.Errorf("%s, fail open: got %v after %d runs, log %q", name, err, h.runs, log.String())
			}
		})
	}
}

func TestLocalLimiterRemembersNoMoreThanMaxKeys(t *testing.T) {
	l := localLimiter(t, middleware.LocalLimiterConfig{Rate: 1e-9, MaxKeys: 100})
	take := func(key string) bool {
		_, ok, err := l.Take(t.Context(), key, 0)
		must(t, err)
		return ok
	}
	if !take("first") || take("first") {
		t.Error("a key has another burst than 1")
	}
	for i := range 1000 {
		if !take(fmt.Sprint(i)) {
			t.Fatalf("key %d had a turn before", i)
		}
		if i == 30 && take("first") {
			t.Error("a key was forgotten with 31 others known")
		}
	}
	if l.Keys() > 100 {
		t.Errorf("%d keys are known", l.Keys())
	}
	if !take("first") {
		t.Error("the oldest of 1000 keys is remembered")
	}
}

func TestLimitsRefuse(t *testing.T) {
	for name, cfg := range map[string]middleware.LocalLimiterConfig{
		"no rate": {}, "negative": {Rate: -1}, "NaN": {Rate: math.NaN()}, "Inf": {Rate: math.Inf(1)}, "burst": {Rate: 1, Burst: -1}, "keys": {Rate: 1, MaxKeys: -1},
	} {
		_, err := middleware.NewLocalLimiter(cfg)
		wantConfigError(t, name, err)
	}
	l := localLimiter(t, middleware.LocalLimiterConfig{Rate: 1})
	for name, cfg := range map[string]middleware.RateLimitConfig{
		"no limiter": {}, "nil limiter": {Limiter: (*middleware.LocalLimiter)(nil)}, "wait": {Limiter: l, MaxWait: -1}, "timeout": {Limiter: l, LimiterTimeout: -1},
	} {
		_, err := middleware.RateLimit(cfg)
		wantConfigError(t, name, err)
	}
	key := func(*message.Message) string { return "" }
	for name, cfg := range map[string]middleware.ThrottleConfig{
		"no limiter": {Key: key}, "no key": {Limiter: l}, "timeout": {Limiter: l, Key: key, LimiterTimeout: -1},
	} {
		_, err := middleware.Throttle(cfg)
		wantConfigError(t, name, err)
	}
}
