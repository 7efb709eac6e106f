package middleware

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// concludeTimeout bounds what Done and Abort may take once the handler has
// returned; they do not end with the message's context.
const concludeTimeout = 5 * time.Second

// claim is the claim of one run of a handler.
type claim struct {
	*transport.Claim
	store IdempotencyStore
	ctx   context.Context
	holds *transport.Delivery // it is concluded when this is settled; nil: by itself
	since time.Time           // before it was made
	done  transport.Held      // what holds has when the handler has succeeded
}

// mark marks the key, with what was produced. If that fails the claim is dropped,
// or the message would come back only to wait for it.
func (c *claim) mark(produced []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), concludeTimeout)
	defer cancel()
	err := recovering(func() error { return c.store.Done(ctx, *c.Claim, produced) })
	if err == nil || errors.Is(err, transport.ErrClaimDone) {
		if c.holds != nil {
			c.holds.HoldClaim(nil)
		}
		return err
	}
	return c.abort(fmt.Errorf("middleware: idempotency: the handler succeeded but may run again: mark %q as done: %w", c.Key, opaque(err)))
}

// doneBySettling leaves it to the ack to mark the key.
func (c *claim) doneBySettling() {
	c.done = transport.Held{Claim: c.Claim, Store: c.store, Done: true, Since: c.since}
	c.holds.HoldClaim(&c.done)
}

// abort drops the claim and returns cause, with the failure to drop it if any.
func (c *claim) abort(cause error) error {
	if c.holds != nil {
		// Settling drops it. Until then it is good for another attempt here.
		c.holds.HoldClaim(&transport.Held{Claim: c.Claim, Store: c.store})
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), concludeTimeout)
	defer cancel()
	err := recovering(func() error { return c.store.Abort(ctx, *c.Claim) })
	switch {
	case err == nil:
		return cause
	case cause == nil:
		return fmt.Errorf("middleware: idempotency: drop the claim of %q: %w", c.Key, opaque(err))
	}
	// The cause alone says what becomes of the message.
	return fmt.Errorf("%w (and its claim %q stays until it expires: %v)", cause, c.Key, err)
}

// beginAll makes claims. A store that panics, or does not answer all, has failed.
func beginAll(ctx context.Context, store IdempotencyStore, claims ...transport.Claim) (results []transport.ClaimResult, err error) {
	err = recovering(func() (err error) {
		results, err = store.Begin(ctx, claims...)
		return err
	})
	if err == nil && len(results) != len(claims) {
		err = fmt.Errorf("the store gave %d results for %d claims: mend its Begin", len(results), len(claims))
	}
	return results, err
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
