package middleware_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	wmiddleware "github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
)

func retry(t *testing.T, cfg middleware.RetryConfig) message.HandlerMiddleware {
	t.Helper()
	mw, err := middleware.Retry(cfg)
	must(t, err)
	return mw
}

func TestRetryAttempts(t *testing.T) {
	later := func(d time.Duration) error { return events.RetryAfter(d, errBoom) }
	for name, c := range map[string]struct {
		cfg   middleware.RetryConfig
		errs  []error
		runs  int
		took  time.Duration
		text  string // of the error; "" for none
		plain bool   // without a delivery
	}{
		"success":                   {errs: nil, runs: 1},
		"second success":            {errs: []error{errBoom}, runs: 2, took: 100 * time.Millisecond},
		"all fail":                  {errs: []error{errBoom, errBoom, errBoom, nil}, runs: 3, took: 300 * time.Millisecond, text: "after 3 attempts: boom"},
		"one attempt":               {cfg: middleware.RetryConfig{MaxAttempts: 1}, errs: []error{errBoom}, runs: 1, text: "boom"},
		"up to the longest":         {cfg: middleware.RetryConfig{MaxAttempts: 5, MaxInterval: 300 * time.Millisecond}, errs: []error{errBoom, errBoom, errBoom, errBoom}, runs: 5, took: 900 * time.Millisecond},
		"multiplier 1.5 is not 1":   {cfg: middleware.RetryConfig{Multiplier: 1.5}, errs: []error{errBoom, errBoom}, runs: 3, took: 250 * time.Millisecond},
		"permanent":                 {errs: []error{events.Permanent(errBoom)}, runs: 1, text: "boom"},
		"permanent later":           {errs: []error{errBoom, events.Permanent(errBoom)}, runs: 2, took: 100 * time.Millisecond, text: "after 2 attempts: boom"},
		"discard":                   {errs: []error{events.Discard(errBoom)}, runs: 1, text: "boom"},
		"short delay":               {errs: []error{later(5 * time.Second)}, runs: 2, took: 5 * time.Second},
		"a delay replaces one wait": {errs: []error{later(time.Second), errBoom}, runs: 3, took: 1200 * time.Millisecond},
		"no delay":                  {errs: []error{later(0)}, runs: 2},
		"long delay":                {errs: []error{later(5*time.Second + 1)}, runs: 1, text: "boom"},
		"in progress":               {errs: []error{events.RetryAfter(time.Second, middleware.ErrInProgress)}, runs: 1, text: middleware.ErrInProgress.Error()},
		"in progress, Watermill":    {errs: []error{events.RetryAfter(time.Second, middleware.ErrInProgress)}, runs: 2, took: time.Second, plain: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.cfg.Jitter = -1
				h := &handler{errs: c.errs}
				msg := newMessage("1")
				if !c.plain {
					deliver(msg, 1, full)
				}
				begun := time.Now()
				_, err := retry(t, c.cfg)(h.handle)(msg)
				text := ""
				if err != nil {
					text = err.Error()
				}
				if text != c.text || h.runs != c.runs || time.Since(begun) != c.took {
					t.Errorf("got %q after %d runs and %v, want %q, %d, %v", text, h.runs, time.Since(begun), c.text, c.runs, c.took)
				}
				if err == nil {
					return
				}
				last := c.errs[h.runs-1]
				d1, ok1 := events.RetryDelay(err)
				d2, ok2 := events.RetryDelay(last)
				if !errors.Is(err, last) || events.IsPermanent(err) != events.IsPermanent(last) || events.IsDiscard(err) != events.IsDiscard(last) || d1 != d2 || ok1 != ok2 {
					t.Errorf("the class of %v is lost in %v", last, err)
				}
			})
		})
	}
}

func TestP18_EveryMessageHasItsOwnSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw := retry(t, middleware.RetryConfig{MaxAttempts: 4, Jitter: -1})
		var waits [8][]time.Duration
		done := make(chan struct{})
		for i := range waits {
			go func() {
				last := time.Now()
				_, _ = mw(func(*message.Message) ([]*message.Message, error) {
					waits[i] = append(waits[i], time.Since(last))
					last = time.Now()
					return nil, errBoom
				})(newMessage("1"))
				done <- struct{}{}
			}()
		}
		for range waits {
			<-done
		}
		want := []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}
		for i := range waits {
			if !slices.Equal(waits[i], want) {
				t.Errorf("message %d waited %v", i, waits[i])
			}
		}
	})
}

func TestRetrySpreadsItsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 50 {
			begun := time.Now()
			_, err := retry(t, middleware.RetryConfig{MaxAttempts: 2})((&handler{errs: []error{errBoom}}).handle)(newMessage("1"))
			must(t, err)
			took := time.Since(begun)
			if took < 50*time.Millisecond || took > 150*time.Millisecond+1 {
				t.Errorf("waited %v", took)
			}
			seen[took] = true
		}
		if len(seen) < 10 {
			t.Errorf("only %d different waits", len(seen))
		}
	})
}

func TestRetryWaitsHoweverLongTheIntervalIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 { // Jitter makes the wait longer or shorter.
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			msg := newMessage("1")
			msg.SetContext(ctx)
			h := &handler{errs: []error{errBoom}}
			if _, err := retry(t, middleware.RetryConfig{InitialInterval: math.MaxInt64})(h.handle)(msg); !errors.Is(err, errBoom) || h.runs != 1 {
				t.Errorf("got %v after %d runs in an hour", err, h.runs)
			}
			cancel()
		}
	})
}

func TestRetryStopsWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cause := range []error{events.ErrReleased, transport.ErrLeaseLost, events.Discard(errors.New("must not count"))} {
			for _, after := range []time.Duration{0, 50 * time.Millisecond} {
				ctx, cancel := context.WithCancelCause(context.Background())
				msg := newMessage("1")
				msg.SetContext(ctx)
				begun := time.Now()
				timer := time.AfterFunc(after, func() { cancel(cause) })
				h := &handler{errs: []error{errBoom, errBoom, errBoom}}
				_, err := retry(t, middleware.RetryConfig{Jitter: -1})(h.handle)(msg)
				if !errors.Is(err, errBoom) || events.IsDiscard(err) || time.Since(begun) != after || h.runs != 1 {
					t.Errorf("%v: got %v after %v and %d runs", cause, err, time.Since(begun), h.runs)
				}
				if !events.IsDiscard(cause) && !errors.Is(err, cause) {
					t.Errorf("%v does not tell its cause", err)
				}
				timer.Stop()
				cancel(nil)
			}
		}
	})
}

func TestRetryGivesEveryAttemptALivingContext(t *testing.T) {
	// Watermill's Timeout leaves an ended context in the message.
	timeout := wmiddleware.Timeout(time.Hour)
	runs := 0
	h := timeout(func(msg *message.Message) ([]*message.Message, error) {
		runs++
		if runs == 1 {
			return nil, events.RetryAfter(0, errBoom)
		}
		return nil, msg.Context().Err()
	})
	if _, err := retry(t, middleware.RetryConfig{})(h)(newMessage("1")); err != nil || runs != 2 {
		t.Errorf("got %v after %d runs", err, runs)
	}
}

func TestRetryRefuses(t *testing.T) {
	for name, cfg := range map[string]middleware.RetryConfig{
		"attempts":         {MaxAttempts: -1},
		"initial interval": {InitialInterval: -1},
		"max interval":     {MaxInterval: -1},
		"max < initial":    {InitialInterval: 2, MaxInterval: 1},
		"multiplier":       {Multiplier: 0.5},
		"multiplier NaN":   {Multiplier: math.NaN()},
		"multiplier Inf":   {Multiplier: math.Inf(1)},
		"jitter":           {Jitter: 1.1},
		"jitter NaN":       {Jitter: math.NaN()},
		"delay":            {MaxInProcessDelay: -1},
		"elapsed":          {MaxElapsed: -1},
	} {
		_, err := middleware.Retry(cfg)
		wantConfigError(t, name, err)
	}
	for _, cfg := range []middleware.RetryConfig{{InitialInterval: time.Hour}, {MaxInterval: time.Millisecond}, {Jitter: 1}} {
		retry(t, cfg)
	}
}

func TestRetryInWatermillsRouter(t *testing.T) {
	mw := retry(t, middleware.RetryConfig{InitialInterval: time.Millisecond})
	var runs atomic.Int32
	ran := make(chan *message.Message, 1)
	h := func(msg *message.Message) ([]*message.Message, error) {
		if runs.Add(1) < 3 {
			return nil, errBoom
		}
		ran <- msg
		return nil, nil
	}
	watermillRun(t, newPubSub(false), h, []message.HandlerMiddleware{mw}, func() {
		msg := <-ran
		select {
		case <-msg.Acked():
		case <-msg.Nacked():
			t.Error("nacked, though the third attempt succeeded")
		}
	}, newMessage("1"))
}

func TestRetryDoesNotStartAfterTheContextHasEnded(t *testing.T) {
	for range 100 { // Without a wait, timer and context are ready together.
		ctx, cancel := context.WithCancelCause(context.Background())
		msg := newMessage("1")
		msg.SetContext(ctx)
		runs := 0
		_, err := retry(t, middleware.RetryConfig{})(func(*message.Message) ([]*message.Message, error) {
			runs++
			cancel(events.ErrReleased)
			return nil, events.RetryAfter(0, errBoom)
		})(msg)
		if runs != 1 || !errors.Is(err, events.ErrReleased) {
			t.Fatalf("got %v after %d runs", err, runs)
		}
	}
}
