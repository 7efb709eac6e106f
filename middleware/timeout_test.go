package middleware_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
)

func timeout(t testing.TB, d time.Duration) message.HandlerMiddleware {
	t.Helper()
	mw, err := middleware.Timeout(d)
	must(t, err)
	return mw
}

func TestTimeoutEndsTheContext(t *testing.T) {
	type key struct{}
	for name, wait := range map[string]func(ctx context.Context) error{
		"by Done": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"of a child": func(ctx context.Context) error {
			child, cancel := context.WithCancel(context.WithValue(ctx, key{}, 1))
			defer cancel()
			<-child.Done()
			if cause := context.Cause(child); !errors.Is(cause, middleware.ErrTimeout) {
				t.Errorf("cause of the child: %v", cause)
			}
			return child.Err()
		},
		"by Err alone": func(ctx context.Context) error {
			timer := time.NewTimer(time.Minute)
			defer timer.Stop()
			if <-timer.C; ctx.Err() == nil {
				t.Error("alive after the deadline")
			}
			return ctx.Err()
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			msg := newMessage("1")
			outside := msg.Context()
			begun := time.Now()
			_, err := timeout(t, time.Minute)(func(msg *message.Message) ([]*message.Message, error) {
				ctx := msg.Context()
				if deadline, ok := ctx.Deadline(); !ok || !deadline.Equal(begun.Add(time.Minute)) || ctx.Err() != nil {
					t.Errorf("%s: deadline %v, %v", name, deadline, ctx.Err())
				}
				err := wait(ctx)
				if cause := context.Cause(ctx); !errors.Is(cause, middleware.ErrTimeout) {
					t.Errorf("%s: cause %v", name, cause)
				}
				return nil, events.Permanent(err)
			})(msg)
			if !errors.Is(err, middleware.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || !events.IsPermanent(err) || time.Since(begun) != time.Minute || msg.Context() != outside {
				t.Errorf("%s: got %v after %v", name, err, time.Since(begun))
			}
		})
	}
}

func TestTimeoutIsOfNoMatterWithoutFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var inside context.Context
		produced, err := timeout(t, time.Second)(func(msg *message.Message) ([]*message.Message, error) {
			inside = msg.Context()
			timer := time.NewTimer(time.Hour)
			defer timer.Stop()
			<-timer.C
			return []*message.Message{msg}, nil
		})(newMessage("1"))
		if err != nil || len(produced) != 1 {
			t.Errorf("a late success: %v", err)
		}
		if _, err := timeout(t, time.Hour)((&handler{errs: []error{errBoom}}).handle)(newMessage("1")); err != errBoom {
			t.Errorf("an early failure: %v", err)
		}
		<-inside.Done() // as every context after its end
	})
}

func TestTimeoutContextEndsWithTheHandler(t *testing.T) {
	for _, touch := range []bool{false, true} {
		var inside context.Context
		_, err := timeout(t, time.Hour)(func(msg *message.Message) ([]*message.Message, error) {
			if inside = msg.Context(); touch {
				inside.Done()
			}
			return nil, nil
		})(newMessage("1"))
		must(t, err)
		if <-inside.Done(); !errors.Is(inside.Err(), context.Canceled) {
			t.Errorf("touched %v: %v", touch, inside.Err())
		}
	}
}

func TestTimeoutFollowsTheContextOutside(t *testing.T) {
	for _, touch := range []bool{false, true} {
		ctx, cancel := context.WithCancelCause(context.Background())
		msg := newMessage("1")
		msg.SetContext(ctx)
		_, err := timeout(t, time.Hour)(func(msg *message.Message) ([]*message.Message, error) {
			if touch {
				msg.Context().Done()
			}
			cancel(events.ErrReleased)
			for touch && msg.Context().Err() == nil {
				runtime.Gosched()
			}
			return nil, context.Cause(msg.Context())
		})(msg)
		if !errors.Is(err, events.ErrReleased) || errors.Is(err, middleware.ErrTimeout) {
			t.Errorf("touched %v: %v", touch, err)
		}
	}
	early, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	msg := newMessage("1")
	msg.SetContext(early)
	want, _ := early.Deadline()
	_, err := timeout(t, time.Hour)(func(msg *message.Message) ([]*message.Message, error) {
		if got, _ := msg.Context().Deadline(); !got.Equal(want) {
			t.Errorf("deadline %v, want the earlier one %v", got, want)
		}
		return nil, nil
	})(msg)
	must(t, err)
}

func TestTimeoutOfEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		_, err := retry(t, middleware.RetryConfig{})(timeout(t, time.Second)(func(msg *message.Message) ([]*message.Message, error) {
			runs++
			if runs == 3 {
				return nil, msg.Context().Err()
			}
			<-msg.Context().Done()
			return nil, msg.Context().Err()
		}))(newMessage("1"))
		if err != nil || runs != 3 {
			t.Errorf("got %v after %d runs", err, runs)
		}
	})
}

func TestTimeoutRefuses(t *testing.T) {
	for _, d := range []time.Duration{0, -1} {
		_, err := middleware.Timeout(d)
		wantConfigError(t, d.String(), err)
	}
}

func TestRecovererKeepsTheStack(t *testing.T) {
	_, err := middleware.Recoverer()(func(*message.Message) ([]*message.Message, error) { panic(errBoom) })(newMessage("1"))
	p, ok := errors.AsType[*events.PanicError](err)
	if !ok || !errors.Is(err, errBoom) || len(p.Stack) == 0 {
		t.Errorf("got %v", err)
	}
	if _, err := middleware.Recoverer()((&handler{errs: []error{errBoom}}).handle)(newMessage("1")); err != errBoom {
		t.Errorf("got %v", err)
	}
}
