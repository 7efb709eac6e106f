package redis

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/logistically/events/transport"
)

// deliveryContext is the context of a delivery: it ends when the delivery is
// settled or its lease is lost. It is no child of the receiver's: Close ends
// those that are left. Few handlers ask it anything, so the one that does the work
// is made when somebody does.
type deliveryContext struct{ made atomic.Pointer[madeContext] }

type madeContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

func newMadeContext() *madeContext {
	var m madeContext
	m.Context, m.cancel = context.WithCancelCause(context.Background())
	return &m
}

func endedContext(cause error) *madeContext {
	m := newMadeContext()
	m.cancel(cause)
	return m
}

// The ends of contexts that nobody had asked.
var (
	settledContext = endedContext(nil)
	lostContext    = endedContext(transport.ErrLeaseLost)
)

func (c *deliveryContext) get() *madeContext {
	if m := c.made.Load(); m != nil {
		return m
	}
	if m := newMadeContext(); c.made.CompareAndSwap(nil, m) {
		return m
	}
	return c.made.Load()
}

// end ends the context as ended, one of the above, has ended.
func (c *deliveryContext) end(ended *madeContext) {
	if !c.made.CompareAndSwap(nil, ended) {
		c.made.Load().cancel(context.Cause(ended))
	}
}

// Deadline implements context.Context: there is none.
func (c *deliveryContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (c *deliveryContext) Done() <-chan struct{} { return c.get().Done() }

// Err implements context.Context.
func (c *deliveryContext) Err() error {
	if m := c.made.Load(); m != nil {
		return m.Err()
	}
	return nil
}

// Value implements context.Context. It has none of its own; package context asks by
// a *int for the one that does the work.
func (c *deliveryContext) Value(key any) any {
	if _, ok := key.(*int); ok {
		return c.get().Value(key)
	}
	return nil
}
