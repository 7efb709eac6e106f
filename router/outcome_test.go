package router

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

func TestDecide(t *testing.T) {
	boom := errors.New("boom")
	all := transport.Capabilities{DeadLetter: true, Attempts: true}
	panicked := &events.PanicError{Value: "x", Stack: []byte("here")}
	for _, c := range []struct {
		name    string
		can     transport.Capabilities
		attempt int
		res     result
		want    transport.Settlement // 0: dropped
		after   time.Duration
		reduced bool
	}{
		{"nil is acked", all, 1, result{}, transport.Ack, 0, false},
		{"nil is acked after the drain deadline", all, 1, result{cause: events.ErrReleased}, transport.Ack, 0, false},
		{"discard is acked", all, 1, result{err: events.Discard(boom)}, transport.Ack, 0, false},
		{"discard is acked after the drain deadline", all, 1, result{err: events.Discard(boom), cause: events.ErrReleased}, transport.Ack, 0, false},
		{"an error after the drain deadline releases", all, 3, result{err: boom, cause: events.ErrReleased}, transport.Release, 0, false},
		{"a permanent one, too", all, 3, result{err: events.Permanent(boom), cause: events.ErrReleased}, transport.Release, 0, false},
		{"a lost lease drops", all, 1, result{err: boom, cause: transport.ErrLeaseLost}, 0, 0, false},
		{"a lost lease drops success", all, 1, result{cause: transport.ErrLeaseLost}, 0, 0, false},
		{"retry after", all, 9, result{err: fmt.Errorf("wrapped: %w", events.RetryAfter(7*time.Second, boom))}, transport.Retry, 7 * time.Second, false},
		{"snooze", all, 9, result{err: events.Snooze(7*time.Second, boom)}, transport.Retry, 7 * time.Second, false},
		{"permanent is a dead letter", all, 1, result{err: fmt.Errorf("wrapped: %w", events.Permanent(boom))}, transport.DeadLetter, 0, false},
		{"permanent without dead letters", transport.Capabilities{}, 2, result{err: events.Permanent(boom)}, transport.Retry, 2 * time.Second, true},
		{"any error, first attempt", all, 1, result{err: boom}, transport.Retry, time.Second, false},
		{"any error, fourth attempt", all, 4, result{err: boom}, transport.Retry, 8 * time.Second, false},
		{"a panic", all, 1, result{err: panicked}, transport.Retry, time.Second, false},
		{"a permanent panic", all, 1, result{err: events.Permanent(panicked)}, transport.DeadLetter, 0, false},
		{"another end of the context", all, 1, result{err: boom, cause: context.Canceled}, transport.Retry, time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := delivery("a")
			d.Attempt = c.attempt
			c.res.by = "a.*"
			v := decide(d, c.can, c.res, DefaultRetryDelay)
			if v.drop != (c.want == 0) || v.outcome.Settlement != c.want || v.outcome.After != c.after || v.reduced != c.reduced {
				t.Fatalf("got %v after %v, drop %v, reduced %v", v.outcome.Settlement, v.outcome.After, v.drop, v.reduced)
			}
			if c.want == transport.DeadLetter && v.outcome.Metadata[transport.MetadataFailureHandler] != "a.*" {
				t.Errorf("metadata %v", v.outcome.Metadata)
			}
			if (c.want == transport.DeadLetter || c.want == transport.Retry) && !errors.Is(v.outcome.Cause, c.res.err) {
				t.Errorf("cause %v", v.outcome.Cause)
			}
		})
	}
}

func TestDefaultRetryDelayDoublesUpToAMinute(t *testing.T) {
	for attempt, want := range map[int]time.Duration{
		-1: time.Second, 0: time.Second, 1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1 << 40: time.Minute,
	} {
		if got := DefaultRetryDelay(attempt); got != want {
			t.Errorf("attempt %d: %v, want %v", attempt, got, want)
		}
	}
}
