package middleware

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/logistically/events"
)

// concludeTimeout bounds what Done and Abort may take once the handler has
// returned; they do not end with the message's context.
const concludeTimeout = 5 * time.Second

// claim is one claim of one run of a handler.
type claim struct {
	store      IdempotencyStore
	ctx        context.Context
	key, token string
}

func (c *claim) begin(lease time.Duration) (started, done bool, err error) {
	err = recovering(func() (err error) {
		started, done, err = c.store.Begin(c.ctx, c.key, c.token, lease)
		return err
	})
	return started, done, err
}

// done marks the key. If that fails the claim is dropped, or the message would
// come back only to wait for it.
func (c *claim) done(keep time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), concludeTimeout)
	defer cancel()
	if err := recovering(func() error { return c.store.Done(ctx, c.key, c.token, keep) }); err != nil {
		return c.abort(fmt.Errorf("middleware: idempotency: the handler succeeded but may run again: mark %q as done: %w", c.key, opaque(err)))
	}
	return nil
}

// abort drops the claim and returns cause, with the failure to drop it if any.
func (c *claim) abort(cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), concludeTimeout)
	defer cancel()
	err := recovering(func() error { return c.store.Abort(ctx, c.key, c.token) })
	switch {
	case err == nil:
		return cause
	case cause == nil:
		return fmt.Errorf("middleware: idempotency: drop the claim of %q: %w", c.key, opaque(err))
	}
	// The cause alone says what becomes of the message.
	return fmt.Errorf("%w (and its claim %q stays until it expires: %v)", cause, c.key, err)
}

// recovering makes an error of a panic of the store, so that the claim is
// concluded like after any of its errors.
func recovering(call func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &events.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return call()
}
