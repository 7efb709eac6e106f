package middleware

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Timeout ends the context of what is inside it after d, with cause [ErrTimeout]. An
// error that is returned then is ErrTimeout, too, and keeps its class; a success stays
// one. The handler is not left behind: one that ignores its context is waited for, and
// package router finds it stuck only after Config.HandlerTimeout or a lost lease.
//
// Inside Retry it is the time of each attempt, outside Retry that of all of them and
// the waits between. Put it inside CircuitBreaker and RateLimit, or waiting for those
// counts. Config.HandlerTimeout of package router is one around all middleware.
//
// A handler that looks at nothing of its context but values and the deadline costs no
// timer. A d that is not positive is a *events.ConfigError.
//
//go:noinline
func Timeout(d time.Duration) (message.HandlerMiddleware, error) {
	if d <= 0 {
		return nil, configError("Timeout d", d, "is not positive", "set it to how long the handler may take, such as 30 s")
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return handleWithin(d, msg, next) }
	}, nil
}

func handleWithin(d time.Duration, msg *message.Message, next message.HandlerFunc) ([]*message.Message, error) {
	outside := msg.Context()
	inside := &deadlineContext{Context: outside, deadline: time.Now().Add(d)}
	msg.SetContext(inside)
	defer func() {
		msg.SetContext(outside)
		inside.end()
	}()
	produced, err := next(msg)
	if err != nil && inside.Err() != nil && errors.Is(context.Cause(inside), ErrTimeout) && !errors.Is(err, ErrTimeout) {
		err = fmt.Errorf("%w (%w: %v)", err, ErrTimeout, d)
	}
	return produced, err
}

// deadlineContext is context.WithDeadlineCause, made when somebody waits for it: a
// timer and its context cost more than all other middleware together.
type deadlineContext struct {
	context.Context // outside
	deadline        time.Time

	timed  atomic.Pointer[context.Context]
	mu     sync.Mutex // of making timed
	cancel context.CancelFunc
	ended  bool
}

// made returns the real context.
func (c *deadlineContext) made() context.Context {
	if timed := c.timed.Load(); timed != nil {
		return *timed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if timed := c.timed.Load(); timed != nil {
		return *timed
	}
	timed, cancel := context.WithDeadlineCause(c.Context, c.deadline, ErrTimeout)
	c.cancel = cancel
	if c.ended {
		cancel()
	}
	c.timed.Store(&timed)
	return timed
}

// end is the cancel function. Who still has the context sees that it has ended.
func (c *deadlineContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *deadlineContext) Deadline() (time.Time, bool) {
	if outer, ok := c.Context.Deadline(); ok && outer.Before(c.deadline) {
		return outer, true
	}
	return c.deadline, true
}

func (c *deadlineContext) Done() <-chan struct{} { return c.made().Done() }

func (c *deadlineContext) Err() error {
	if c.timed.Load() == nil {
		if err := c.Context.Err(); err != nil {
			return err
		}
		c.mu.Lock()
		alive := !c.ended && time.Now().Before(c.deadline)
		c.mu.Unlock()
		if alive {
			return nil
		}
	}
	return c.made().Err()
}

// Value asks the real context, if there is one: package context finds by it what a
// child is to be cancelled with, and the cause.
func (c *deadlineContext) Value(key any) any {
	if timed := c.timed.Load(); timed != nil {
		return (*timed).Value(key)
	}
	return c.Context.Value(key)
}
