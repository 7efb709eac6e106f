package batching

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

var (
	// errPanicked marks a batch during which the publisher beneath panicked.
	errPanicked = errors.New("batching: the publisher beneath panicked")
	// errVanished marks a batch during which it ended its goroutine.
	errVanished = errors.New("batching: the publisher beneath called runtime.Goexit: its messages may have been published")
)

// batch is what goes out in one Publish call of the publisher beneath.
type batch struct {
	topic string
	first uint64 // the lowest number of its items
	items []item
	queue *queue          // whose batch it is; nil when failed messages are tried again
	until context.Context // ends the attempt; nil if nothing does
	errs  []error         // the results; nil if all went out

	// kept has the entries of the items in the list of failed messages, if they
	// are there already. Guarded by the publisher's lock.
	kept []*failure
}

// send publishes the batch. It leaves a result for each message, whatever the
// publisher beneath does.
func (b *batch) send(next message.Publisher) {
	msgs := b.messages()
	err := errVanished
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %w", errPanicked, &events.PanicError{Value: v, Stack: debug.Stack()})
		}
		if err != nil {
			b.errs, _ = events.FailedOf(err, msgs)
		}
	}()
	err = next.Publish(b.topic, msgs...)
}

// messages returns what the publisher beneath gets: the messages themselves
// where it can, as a copy costs more than all the rest of their way. The end of
// one caller's context must not end a batch of several, or one that nobody waits for.
func (b *batch) messages() []*message.Message {
	msgs := make([]*message.Message, len(b.items))
	var copies []endless // one allocation for all
	for i := range b.items {
		msg := b.items[i].msg
		ctx := msg.Context()
		switch {
		case b.until != nil:
			msgs[i] = msg.Copy()
			msgs[i].SetContext(borrowed{b.until, ctx})
			continue
		case ctx.Done() == nil, b.items[i].result != nil && len(b.items) == 1:
			msgs[i] = msg
			continue
		}
		if copies == nil {
			copies = make([]endless, len(b.items))
		}
		c := &copies[i]
		c.of, msgs[i] = ctx, &c.msg
		c.msg.UUID, c.msg.Metadata, c.msg.Payload = msg.UUID, msg.Metadata, msg.Payload
		c.msg.SetContext(c)
	}
	return msgs
}

// endless is a shallow copy of a message, and its context: one like that of
// context.WithoutCancel, without an allocation of its own.
type endless struct {
	msg message.Message
	of  context.Context
}

func (*endless) Deadline() (deadline time.Time, ok bool) { return deadline, false }
func (*endless) Done() <-chan struct{}                   { return nil }
func (*endless) Err() error                              { return nil }
func (e *endless) Value(key any) any                     { return e.of.Value(key) }

// detached returns a copy whose context never ends. It keeps the context's
// values, such as the trace.
func detached(msg *message.Message) *message.Message {
	ctx := context.WithoutCancel(msg.Context())
	msg = msg.Copy()
	msg.SetContext(ctx)
	return msg
}

// borrowed is a context that ends when one does and has the values of another,
// which never ends.
type borrowed struct {
	context.Context
	values context.Context
}

func (c borrowed) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

func (b *batch) err(i int) error {
	if b.errs == nil {
		return nil
	}
	return b.errs[i]
}

// work publishes the batches of a queue or a retry until there is no next one.
func (p *Publisher) work(from interface{ next() *batch }) {
	returned := false
	defer func() {
		if !returned { // The publisher beneath has ended this goroutine.
			go p.work(from)
		}
	}()
	for b := from.next(); b != nil; b = from.next() {
		p.publish(b)
	}
	returned = true
}

// publish sends a batch that has got its slot, and hands out the results.
func (p *Publisher) publish(b *batch) {
	defer func() { // also when the publisher beneath ends this goroutine
		if b.queue != nil && p.cfg.Mode == Buffered {
			p.logFailures(b.topic, b.errs)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.settle(b)
		<-p.slots
	}()
	b.send(p.next)
}

// settle hands out the results of a batch. The caller holds the lock.
func (p *Publisher) settle(b *batch) {
	p.active--
	drained := true
	if b.queue != nil {
		b.queue.underway = nil
		drained = b.queue.items.len() == 0
	}
	for i, it := range b.items {
		if b.kept == nil {
			p.done(b.topic, it, b.err(i))
		} else {
			b.kept[i].conclude(b.err(i))
		}
	}
	if b.kept != nil {
		p.forget()
	}
	p.offerRoom(drained)
	p.notify()
}

// done is the end of an item's way through the publisher, by whichever exit: it
// makes room, and the result goes to whom it concerns: the caller who waits for
// it, or the list of failed messages, whose new entry done returns. The caller
// holds the lock, and notifies.
func (p *Publisher) done(topic string, it item, err error) *failure {
	p.held--
	p.bytes -= len(it.msg.Payload)
	if it.result != nil {
		it.result.set(err)
		return nil
	}
	if err == nil {
		return nil
	}
	return p.keep(topic, it.msg, err)
}

// logFailures must be called without the lock: the logger may ask for
// statistics.
func (p *Publisher) logFailures(topic string, errs []error) {
	failures := 0
	var first error
	for _, err := range errs {
		if err != nil {
			failures++
			first = cmp.Or(first, err)
		}
	}
	if failures > 0 {
		p.cfg.Logger.Error("batching: messages failed and are kept: see FailedMessages", "topic", topic, "failed", failures, "of", len(errs), "error", first)
	}
}
