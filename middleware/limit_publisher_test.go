package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
)

// everySecond has a turn a second.
type everySecond struct {
	next time.Time
	err  error
}

func (l *everySecond) Take(_ context.Context, _ string, within time.Duration) (time.Duration, bool, error) {
	wait := max(time.Until(l.next), 0)
	if l.err != nil || wait > within {
		return wait, false, l.err
	}
	l.next = time.Now().Add(wait + time.Second)
	return wait, true, nil
}

func limited(t *testing.T, next message.Publisher, l *everySecond) func(ctx context.Context, uuids ...string) error {
	t.Helper()
	pub, err := middleware.LimitPublisher(next, middleware.LimitPublisherConfig{Limiter: l})
	must(t, err)
	return func(ctx context.Context, uuids ...string) error {
		var msgs []*message.Message
		for _, id := range uuids {
			msg := message.NewMessage(id, nil)
			msg.SetContext(ctx)
			msgs = append(msgs, msg)
		}
		return pub.Publish("orders", msgs...)
	}
}

func TestLimitPublisherKeepsTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &flakyPublisher{}
		publish := limited(t, next, &everySecond{})
		begun := time.Now()
		for _, want := range []time.Duration{0, time.Second, 2 * time.Second} {
			must(t, publish(t.Context(), fmt.Sprint(want)))
			if took := time.Since(begun); took != want {
				t.Errorf("published after %v, want %v", took, want)
			}
		}
		must(t, publish(t.Context(), "a", "b", "c")) // in one call, when the last may go
		if took := time.Since(begun); took != 5*time.Second || len(next.calls) != 4 {
			t.Errorf("three published after %v by %v", took, next.calls)
		}
	})
}

func TestLimitPublisherListsWhatHasNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &flakyPublisher{fails: map[string]int{"2": 1}, err: errBoom}
		publish := limited(t, next, &everySecond{})
		err := publish(t.Context(), "1", "2", "3", "4", "5", "6", "7", "8") // The sixth comes after 5 s.
		list, ok := errors.AsType[*events.PublishError](err)
		if !ok || list.Total != 8 || !errors.Is(err, middleware.ErrPublishLimited) || !errors.Is(err, errBoom) {
			t.Fatalf("got %v", err)
		}
		var failed []string
		for _, f := range list.Failed {
			failed = append(failed, f.Message.UUID)
		}
		if !slices.Equal(failed, []string{"2", "7", "8"}) || !slices.Equal(next.out, []string{"1", "3", "4", "5", "6"}) {
			t.Errorf("failed %v, out %v", failed, next.out)
		}
	})
}

func TestLimitPublisherStopsWaitingWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &flakyPublisher{}
		publish := limited(t, next, &everySecond{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		if err := publish(ctx, "1", "2"); !errors.Is(err, context.DeadlineExceeded) || len(next.out) != 0 {
			t.Errorf("got %v, out %v", err, next.out)
		}
	})
}

func TestLimitPublisherPublishesNothingWithoutItsLimiter(t *testing.T) {
	next := &flakyPublisher{}
	if err := limited(t, next, &everySecond{err: errBoom})(t.Context(), "1"); !errors.Is(err, errBoom) || len(next.out) != 0 {
		t.Errorf("got %v, out %v", err, next.out)
	}
	for _, cfg := range []middleware.LimitPublisherConfig{{}, {Limiter: (*everySecond)(nil)}, {Limiter: &everySecond{}, MaxWait: -1}} {
		if _, err := middleware.LimitPublisher(next, cfg); !isConfigError(err) {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
	if _, err := middleware.LimitPublisher(nil, middleware.LimitPublisherConfig{Limiter: &everySecond{}}); !isConfigError(err) {
		t.Errorf("got %v", err)
	}
}
