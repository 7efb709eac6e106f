package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

func TestP18_TheScheduleIsAPureFunctionOfTheAttempt(t *testing.T) {
	const ms, year = time.Millisecond, 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		cfg  middleware.RetryConfig
		want map[int]time.Duration
	}{
		"defaults":            {want: map[int]time.Duration{math.MinInt: 100 * ms, 0: 100 * ms, 1: 100 * ms, 2: 200 * ms, 6: 3200 * ms, 7: 5 * time.Second, 8: 5 * time.Second, math.MaxInt: 5 * time.Second}},
		"jitter is no matter": {cfg: middleware.RetryConfig{Jitter: 1}, want: map[int]time.Duration{1: 100 * ms, 2: 200 * ms}},
		"constant":            {cfg: middleware.RetryConfig{Multiplier: 1}, want: map[int]time.Duration{1: 100 * ms, 1000: 100 * ms, math.MaxInt: 100 * ms}},
		"1.5 is not cut to 1": {cfg: middleware.RetryConfig{Multiplier: 1.5}, want: map[int]time.Duration{1: 100 * ms, 2: 150 * ms, 3: 225 * ms}},
		"overflow":            {cfg: middleware.RetryConfig{InitialInterval: year, MaxInterval: math.MaxInt64, Multiplier: 1e300}, want: map[int]time.Duration{1: year, 2: math.MaxInt64, 3: math.MaxInt64, math.MaxInt: math.MaxInt64}},
		"longest from start":  {cfg: middleware.RetryConfig{InitialInterval: math.MaxInt64}, want: map[int]time.Duration{1: math.MaxInt64, 2: math.MaxInt64}},
		"smallest":            {cfg: middleware.RetryConfig{InitialInterval: 1, MaxInterval: 3}, want: map[int]time.Duration{1: 1, 2: 2, 3: 3, 4: 3}},
	} {
		for attempt, want := range c.want {
			for range 3 { // Asking changes nothing.
				if got := c.cfg.Delay(attempt); got != want {
					t.Errorf("%s: after attempt %d wait %v, want %v", name, attempt, got, want)
				}
			}
		}
	}
}

func TestRetryClassifiesByTheErrorItself(t *testing.T) {
	cfg := middleware.RetryConfig{Jitter: -1, Classify: func(err error) error {
		switch pe, ok := errors.AsType[*panicky](err); {
		case ok:
			return events.RetryAfter(pe.after, err)
		case errors.Is(err, io.EOF):
			return events.Permanent(err)
		case errors.Is(err, io.ErrShortWrite):
			return events.Discard(err)
		case errors.Is(err, io.ErrNoProgress):
			return events.Snooze(time.Hour, err)
		case errors.Is(err, io.ErrClosedPipe):
			return nil
		}
		return err
	}}
	for name, c := range map[string]struct {
		err  error
		runs int
		is   func(error) bool
	}{
		"dead letter":    {io.EOF, 1, events.IsPermanent},
		"discard":        {io.ErrShortWrite, 1, events.IsDiscard},
		"snooze":         {io.ErrNoProgress, 1, events.IsSnooze},
		"retry":          {errBoom, 3, func(err error) bool { return errors.Is(err, middleware.ErrAttemptsUsedUp) }},
		"nil is no loss": {io.ErrClosedPipe, 3, func(err error) bool { return errors.Is(err, middleware.ErrAttemptsUsedUp) }},
		"later":          {&panicky{time.Hour}, 1, func(err error) bool { d, _ := events.RetryDelay(err); return d == time.Hour }},
	} {
		synctest.Test(t, func(t *testing.T) {
			wrapped := fmt.Errorf("wrapped: %w", c.err)
			h := &handler{errs: []error{wrapped, wrapped, wrapped}}
			_, err := retry(t, cfg)(h.handle)(deliver(newMessage("1"), 1, full))
			if !c.is(err) || !errors.Is(err, c.err) || h.runs != c.runs {
				t.Errorf("%s: got %v after %d runs", name, err, h.runs)
			}
		})
	}
}

type panicky struct{ after time.Duration }

func (*panicky) Error() string { return "busy" }

func TestRetryEndsWhenItsTimeIsUp(t *testing.T) {
	cfg := middleware.RetryConfig{MaxAttempts: 100, MaxInterval: time.Second, Multiplier: 1, InitialInterval: time.Second, Jitter: -1, MaxElapsed: 5 * time.Second}
	always := func(runs *int) message.HandlerFunc {
		return func(*message.Message) ([]*message.Message, error) { *runs++; return nil, errBoom }
	}
	for name, c := range map[string]struct {
		stored time.Duration // ago; negative: unknown
		runs   int
	}{
		"just stored":     {0, 6},
		"stored 3 s ago":  {3 * time.Second, 3},
		"stored long ago": {time.Hour, 1},
		"nobody knows":    {-1, 6},
	} {
		synctest.Test(t, func(t *testing.T) {
			msg := deliver(newMessage("1"), 1, full)
			if d, _ := transport.DeliveryFromContext(msg.Context()); c.stored >= 0 {
				d.Stored = time.Now().Add(-c.stored)
			}
			runs := 0
			if _, err := retry(t, cfg)(always(&runs))(msg); runs != c.runs || !errors.Is(err, middleware.ErrAttemptsUsedUp) || !errors.Is(err, errBoom) {
				t.Errorf("%s: got %v after %d runs, want %d", name, err, runs, c.runs)
			}
		})
	}
}

func TestRetryLeavesLongWaitsToTheTransport(t *testing.T) {
	cfg := middleware.RetryConfig{MaxAttempts: 10, InitialInterval: time.Second, MaxInterval: time.Hour, Multiplier: 10, Jitter: -1}
	fails := func() *handler { return &handler{errs: slices.Repeat([]error{errBoom}, 20)} }
	synctest.Test(t, func(t *testing.T) {
		h, msg := fails(), deliver(newMessage("1"), 1, full)
		_, err := retry(t, cfg)(h.handle)(msg)
		d, _ := transport.DeliveryFromContext(msg.Context())
		if wait, ok := events.RetryDelay(err); wait != 10*time.Second || !ok || h.runs != 2 || d.Attempt != 2 {
			t.Errorf("got %v after %d runs, attempt %d", err, h.runs, d.Attempt)
		}
	})
	for name, msg := range map[string]*message.Message{
		"Watermill's router": newMessage("1"), "a transport that does not count": deliver(newMessage("1"), 1, transport.Capabilities{DeadLetter: true}),
	} {
		synctest.Test(t, func(t *testing.T) {
			h := fails()
			if _, err := retry(t, cfg)(h.handle)(msg); h.runs != 10 || !errors.Is(err, middleware.ErrAttemptsUsedUp) {
				t.Errorf("%s: got %v after %d runs", name, err, h.runs)
			}
		})
	}
}

func TestRetryCountsNoAttemptThatWasInterrupted(t *testing.T) {
	msg := deliver(newMessage("1"), 4, full)
	ctx, cancel := context.WithCancelCause(msg.Context())
	msg.SetContext(ctx)
	runs := 0
	_, err := retry(t, middleware.RetryConfig{MaxAttempts: 10})(func(*message.Message) ([]*message.Message, error) {
		if runs++; runs == 2 {
			cancel(events.ErrReleased)
		}
		return nil, events.RetryAfter(0, errBoom)
	})(msg)
	if d, _ := transport.DeliveryFromContext(ctx); runs != 2 || d.Attempt != 4 || !errors.Is(err, events.ErrReleased) {
		t.Errorf("got %v after %d runs, attempt %d", err, runs, d.Attempt)
	}
}

// Attempts in process, delayed ones and those of a process that was stopped are
// one count, and the schedule goes on where it was.
func TestRetryCountsAcrossProcessAndTransportAndRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memory.NewBroker(memory.BrokerConfig{})
		pub, err := memory.NewPublisher(broker)
		must(t, err)
		msg := newMessage("1")
		must(t, pub.Publish("user-events", msg))
		begun := time.Now()
		var at []time.Duration
		run := func(lasts time.Duration) {
			sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
			must(t, err)
			r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}, Logger: silent, DrainTimeout: time.Millisecond})
			must(t, err)
			r.Use(poisonQueue(t, middleware.PoisonConfig{}), retry(t, middleware.RetryConfig{MaxAttempts: 6, InitialInterval: time.Second, MaxInterval: time.Hour, Multiplier: 3, Jitter: -1}))
			must(t, r.HandleMessage("user.created", func(msg *message.Message) error {
				at = append(at, time.Since(begun))
				return errBoom
			}))
			ctx, stop := context.WithTimeout(t.Context(), lasts)
			defer stop()
			must(t, r.Run(ctx))
			must(t, sub.Close())
		}
		// 1 s and 3 s in process; 9 s, 27 s and 81 s through the transport.
		for range 4 {
			run(10 * time.Second)
		}
		run(time.Hour)
		letters := broker.Messages(transport.DeadLetterTopic("user-events"))
		if len(at) != 6 || len(letters) != 1 {
			t.Fatalf("runs at %v, %d dead letters", at, len(letters))
		}
		if n := letters[0].Metadata[transport.MetadataFailureAttempts]; n != "6" || letters[0].Metadata[transport.MetadataFailureReason] != "after 6 attempts: boom" {
			t.Errorf("dead letter %v", letters[0].Metadata)
		}
		for i, least := range []time.Duration{time.Second, 3 * time.Second, 9 * time.Second, 27 * time.Second, 81 * time.Second} {
			if waited := at[i+1] - at[i]; waited < least || waited > least+11*time.Second {
				t.Errorf("waited %v after attempt %d, want %v", waited, i+1, least)
			}
		}
	})
}

func TestADeliveryThatEndsInSnoozeCostsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		msg := deliver(newMessage("1"), 4, full)
		h := &handler{errs: []error{errBoom, errBoom, events.Snooze(time.Minute, errBoom)}}
		_, err := retry(t, middleware.RetryConfig{MaxAttempts: 10})(h.handle)(msg)
		if d, _ := transport.DeliveryFromContext(msg.Context()); !events.IsSnooze(err) || h.runs != 3 || d.Attempt != 4 {
			t.Errorf("got %v after %d runs, attempt %d", err, h.runs, d.Attempt)
		}
	})
}

func TestSnoozeCostsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memory.NewBroker(memory.BrokerConfig{})
		pub, err := memory.NewPublisher(broker)
		must(t, err)
		sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
		must(t, err)
		r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}, Logger: silent})
		must(t, err)
		r.Use(poisonQueue(t, middleware.PoisonConfig{}), retry(t, middleware.RetryConfig{}))
		ordered, err := r.Lane(router.LaneConfig{Name: "ordered", OrderBy: func(msg *message.Message) string { return "k" }, MaxAttempts: 1})
		must(t, err)
		var mu sync.Mutex
		runs := map[string]int{}
		handle := func(msg *message.Message) error {
			mu.Lock()
			defer mu.Unlock()
			runs[msg.UUID]++
			if d, _ := transport.DeliveryFromContext(msg.Context()); d.Attempt != 1 {
				t.Errorf("%s: attempt %d", msg.UUID, d.Attempt)
			}
			if runs[msg.UUID] <= 40 { // more than MaxDeliveries
				return events.Snooze(time.Minute, errBoom)
			}
			return nil
		}
		must(t, r.HandleMessage("user.created", handle))
		must(t, ordered.HandleMessage("order.placed", handle))
		second := newMessage("2")
		second.Metadata[events.MetadataType] = "order.placed"
		must(t, pub.Publish("user-events", newMessage("1"), second))
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		must(t, r.Run(ctx))
		if runs["1"] != 41 || runs["2"] != 41 || broker.Unsettled("user-events", "g") != 0 || len(broker.Messages(transport.DeadLetterTopic("user-events"))) != 0 {
			t.Errorf("runs %v, %d unsettled", runs, broker.Unsettled("user-events", "g"))
		}
	})
}
