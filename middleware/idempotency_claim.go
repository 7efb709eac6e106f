package middleware

import (
	"context"
	"fmt"
	"time"
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

// done marks the key. If that fails the claim is dropped, or the message would
// come back only to wait for it.
func (c *claim) done(keep time.Duration) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), concludeTimeout)
	defer cancel()
	if err := c.store.Done(ctx, c.key, c.token, keep); err != nil {
		return c.abort(fmt.Errorf("middleware: idempotency: the handler succeeded but may run again: mark %q as done: %w", c.key, opaque(err)))
	}
	return nil
}

// abort drops the claim and returns cause, with the failure to drop it if any.
func (c *claim) abort(cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), concludeTimeout)
	defer cancel()
	err := c.store.Abort(ctx, c.key, c.token)
	switch {
	case err == nil:
		return cause
	case cause == nil:
		return fmt.Errorf("middleware: idempotency: drop the claim of %q: %w", c.key, opaque(err))
	}
	// The cause alone says what becomes of the message.
	return fmt.Errorf("%w (and its claim %q stays until it expires: %v)", cause, c.key, err)
}
