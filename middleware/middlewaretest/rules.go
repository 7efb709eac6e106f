package middlewaretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

func runsOnce(build Build) error {
	return both(func(msg *message.Message) error {
		out := []*message.Message{message.NewMessage("a", nil), message.NewMessage("b", nil)}
		runs := 0
		r, err := on(build, msg, func(*message.Message) ([]*message.Message, error) { runs++; return out, nil })
		switch {
		case err != nil:
			return err
		case r.panicked != nil:
			return fmt.Errorf("it panics: %v", r.panicked)
		case runs != 1:
			return fmt.Errorf("a handler that succeeds ran %d times", runs)
		case r.err != nil:
			return fmt.Errorf("it returns an error for a success: %w", r.err)
		case !slices.Equal(r.produced, out):
			return fmt.Errorf("the handler returned %d messages, it returns %d, or others", len(out), len(r.produced))
		}
		return nil
	})
}

func sameMessage(build Build) error {
	return both(func(msg *message.Message) error {
		id := msg.UUID
		var got *message.Message
		_, err := on(build, msg, func(m *message.Message) ([]*message.Message, error) { got = m; return nil, nil })
		switch {
		case err != nil:
			return err
		case got == nil || got.UUID != id || msg.UUID != id:
			return errors.New("the handler gets a message of another id, or none")
		case got != msg:
			return errors.New("the handler gets a copy, so that the router does not see its Ack and Nack")
		}
		return nil
	})
}

func passesErrors(build Build) error {
	return both(func(msg *message.Message) error {
		runs := 0
		r, err := on(build, msg, func(*message.Message) ([]*message.Message, error) { runs++; return nil, errHandler })
		switch {
		case err != nil:
			return err
		case runs == 0:
			return errors.New("the handler did not run")
		case r.panicked == nil && r.err == nil:
			return errors.New("the handler's error is lost: the message would be acked")
		case r.panicked == nil && !errors.Is(r.err, errHandler):
			return fmt.Errorf("errors.Is does not find the handler's error in %q", r.err)
		}
		return nil
	})
}

func keepsClasses(build Build) error {
	for name, c := range map[string]struct {
		err error
		is  func(error) bool
	}{
		"events.Permanent":  {events.Permanent(errHandler), events.IsPermanent},
		"events.Discard":    {events.Discard(errHandler), events.IsDiscard},
		"events.Snooze":     {events.Snooze(time.Hour, errHandler), events.IsSnooze},
		"events.RetryAfter": {events.RetryAfter(time.Hour, errHandler), func(err error) bool { d, ok := events.RetryDelay(err); return ok && d == time.Hour }},
	} {
		runs := 0
		r, err := on(build, newMessage(), func(*message.Message) ([]*message.Message, error) { runs++; return nil, c.err })
		switch {
		case err != nil:
			return err
		case !c.is(r.err):
			return fmt.Errorf("the handler's error is marked by %s, what it returns is not: %v", name, r.err)
		case runs != 1:
			return fmt.Errorf("a handler whose error is marked by %s ran %d times", name, runs)
		}
	}
	return nil
}

func survivesPanics(build Build) error {
	mw := build()
	for _, msg := range []*message.Message{newMessage(), plainMessage()} {
		r, err := call(mw(func(*message.Message) ([]*message.Message, error) { panic(errHandler) }), msg)
		if err != nil {
			return err
		}
		if r.panicked == nil && r.err == nil {
			return errors.New("the handler's panic is lost: the message would be acked")
		}
	}
	runs := 0
	r, err := call(mw(func(*message.Message) ([]*message.Message, error) { runs++; return nil, nil }), newMessage())
	if err != nil || r.err != nil || runs != 1 {
		return fmt.Errorf("after a panic, the next message's handler ran %d times: %v", runs, errors.Join(err, r.err))
	}
	return nil
}

type contextKey struct{}

var errCause = errors.New("the cause")

func passesContext(build Build) error {
	return both(func(msg *message.Message) error {
		ctx, cancel := context.WithCancelCause(context.WithValue(msg.Context(), contextKey{}, "value"))
		defer cancel(nil)
		msg.SetContext(ctx)
		var found error
		_, err := on(build, msg, func(msg *message.Message) ([]*message.Message, error) {
			inside := msg.Context()
			if inside.Value(contextKey{}) != "value" {
				found = errors.New("the handler's context has not the values of the message's")
			}
			if err := inside.Err(); err != nil {
				found = fmt.Errorf("the handler's context has ended before the message's: %w", err)
			}
			cancel(errCause)
			timer := time.NewTimer(limit / 2)
			defer timer.Stop()
			select {
			case <-inside.Done():
				if cause := context.Cause(inside); !errors.Is(cause, errCause) {
					found = fmt.Errorf("the handler's context ends with cause %q, the message's with another", cause)
				}
			case <-timer.C:
				found = errors.New("the handler's context does not end with the message's")
			}
			return nil, nil
		})
		return errors.Join(err, found)
	})
}

func restoresContext(build Build) error {
	for _, failure := range []error{nil, events.Permanent(errHandler)} {
		if err := both(func(msg *message.Message) error {
			if _, err := on(build, msg, func(*message.Message) ([]*message.Message, error) { return nil, failure }); err != nil {
				return err
			}
			if err := msg.Context().Err(); err != nil {
				return fmt.Errorf("it leaves a context in the message that has ended, and a retry outside would begin with it: %w", err)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func neverSettles(build Build) error {
	for _, failure := range []error{nil, events.Permanent(errHandler)} {
		if err := both(func(msg *message.Message) error {
			var early bool
			if _, err := on(build, msg, func(msg *message.Message) ([]*message.Message, error) { early = settled(msg); return nil, failure }); err != nil {
				return err
			}
			if early || settled(msg) {
				return errors.New("it acks or nacks the message, which the router does once more, by what is returned")
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func settled(msg *message.Message) bool {
	select {
	case <-msg.Acked():
	case <-msg.Nacked():
	default:
		return false
	}
	return true
}

func returns(build Build) error {
	return both(func(msg *message.Message) error {
		ctx, cancel := context.WithCancelCause(msg.Context())
		cancel(events.ErrReleased)
		msg.SetContext(ctx)
		runs := 0
		r, err := on(build, msg, func(msg *message.Message) ([]*message.Message, error) { runs++; return nil, msg.Context().Err() })
		switch {
		case err != nil:
			return fmt.Errorf("the message's context has ended: %w", err)
		case r.err == nil && r.panicked == nil && runs == 0:
			return errors.New("it returns no error though no handler ran: the message would be acked")
		case r.err == nil && r.panicked == nil:
			return errors.New("it returns no error though the handler has")
		case runs > 1:
			return fmt.Errorf("the handler ran %d times though the message's context has ended", runs)
		}
		return nil
	})
}

var errAlone = errors.New("the others have not come")

// concurrent has all handlers wait for one another.
func concurrent(build Build) error {
	const n = 8
	var mu sync.Mutex
	seen := map[*message.Message]int{}
	var once sync.Once
	complete, late := make(chan struct{}), make(chan struct{})
	timer := time.AfterFunc(limit/2, func() { close(late) })
	defer timer.Stop()
	handle := build()(func(msg *message.Message) ([]*message.Message, error) {
		mu.Lock()
		seen[msg]++
		all := len(seen) == n
		mu.Unlock()
		if all {
			once.Do(func() { close(complete) })
		}
		select {
		case <-complete:
			return []*message.Message{msg}, nil
		case <-late:
			return nil, errAlone
		}
	})
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		msg := newMessage()
		all.Go(func() {
			r, err := call(handle, msg)
			switch {
			case err != nil || errors.Is(r.err, errAlone):
				errs[i] = errors.New("messages wait for one another, or are mixed up")
			case r.err != nil || len(r.produced) != 1 || r.produced[0] != msg:
				errs[i] = fmt.Errorf("messages are mixed up, or fail: %v", r.err)
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
