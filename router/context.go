package router

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/contextkey"
	"github.com/logistically/events/transport"
)

// handlerContext is the context of a handler. It ends with the delivery's, by
// HandlerTimeout, and when the handler has returned. Many handlers ask it nothing, so
// the one that does the work is made when somebody does; and what it carries is here,
// and not in a chain of contexts.
type handlerContext struct {
	job  *job
	made atomic.Pointer[madeContext]

	// What the header is read of when somebody asks. The message may be given other
	// metadata until then, as by middleware.Upcast.
	uuid     string
	metadata message.Metadata
	header   atomic.Pointer[events.Header]
}

type madeContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

func newMadeContext(base context.Context) *madeContext {
	var m madeContext
	m.Context, m.cancel = context.WithCancelCause(base)
	return &m
}

// doneContext is the end of contexts that nobody had asked when their handlers returned.
var doneContext = func() *madeContext {
	m := newMadeContext(context.Background())
	m.cancel(nil)
	return m
}()

func (c *handlerContext) get() *madeContext {
	if m := c.made.Load(); m != nil {
		return m
	}
	m := newMadeContext(c.job.base)
	if c.made.CompareAndSwap(nil, m) {
		return m
	}
	m.cancel(nil) // Somebody was faster.
	return c.made.Load()
}

// limit ends the context after a time. It is called before anybody has the context.
func (c *handlerContext) limit(timeout time.Duration) {
	m := newMadeContext(c.job.base)
	cancel := m.cancel
	timed, stop := context.WithTimeoutCause(m.Context, timeout, ErrHandlerTimeout)
	m.Context, m.cancel = timed, func(cause error) { cancel(cause); stop() }
	c.made.Store(m)
}

// end ends the context with a cause; nil says that the handler has returned.
func (c *handlerContext) end(cause error) {
	if cause == nil && c.job.base.Err() == nil && c.made.CompareAndSwap(nil, doneContext) {
		return
	}
	c.get().cancel(cause)
}

// cause returns why the context has ended; nil if it has not.
func (c *handlerContext) cause() error {
	if m := c.made.Load(); m != nil {
		return context.Cause(m.Context)
	}
	if c.job.base.Err() == nil {
		return nil
	}
	return context.Cause(c.job.base)
}

// Deadline implements context.Context.
func (c *handlerContext) Deadline() (time.Time, bool) {
	if m := c.made.Load(); m != nil {
		return m.Deadline()
	}
	return c.job.base.Deadline()
}

// Done implements context.Context.
func (c *handlerContext) Done() <-chan struct{} { return c.get().Done() }

// Err implements context.Context.
func (c *handlerContext) Err() error {
	if m := c.made.Load(); m != nil {
		return m.Err()
	}
	return c.job.base.Err()
}

// Value implements context.Context.
func (c *handlerContext) Value(key any) any {
	switch key.(type) {
	case contextkey.Delivery, contextkey.Header:
		return c
	case *int: // Package context asks so for the one that does the work.
		return c.get().Value(key)
	}
	return c.job.base.Value(key)
}

// ContextDelivery is what transport.DeliveryFromContext returns.
func (c *handlerContext) ContextDelivery() (*transport.Delivery, transport.Capabilities) {
	return c.job.delivery, c.job.from.can
}

// ContextHeader is what events.HeaderFromContext returns: always the same, read when
// it is first asked for.
func (c *handlerContext) ContextHeader() events.Header {
	if h := c.header.Load(); h != nil {
		return *h
	}
	h := events.HeaderOf(&message.Message{UUID: c.uuid, Metadata: c.metadata})
	if !c.header.CompareAndSwap(nil, &h) { // Somebody was faster.
		return *c.header.Load()
	}
	return h
}
