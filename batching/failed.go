package batching

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// failure is an entry in the list of failed messages.
type failure struct {
	events.FailedMessage
	underway bool // in a batch whose result is to come
	gone     bool // to be removed from the list
}

// conclude records what became of another attempt.
func (f *failure) conclude(err error) {
	f.underway = false
	if err == nil {
		f.gone = true
	} else {
		f.Err = err
	}
}

// keep lists a message as failed. The list's copy can be published by whoever
// takes it: its context does not end with the caller's.
func (p *Publisher) keep(topic string, msg *message.Message, err error) *failure {
	f := &failure{FailedMessage: events.FailedMessage{Topic: topic, Message: detached(msg), Err: err}}
	p.failed = append(p.failed, f)
	p.failedBytes += len(msg.Payload)
	return f
}

// forget removes the entries that are gone from the list.
func (p *Publisher) forget() {
	p.failed = slices.DeleteFunc(p.failed, func(f *failure) bool {
		if f.gone {
			p.failedBytes -= len(f.Message.Payload)
		}
		return f.gone
	})
}

func exported(failed []*failure) []events.FailedMessage {
	list := make([]events.FailedMessage, len(failed))
	for i, f := range failed {
		list[i] = f.FailedMessage
	}
	return list
}

// FailedMessages returns what failed in Buffered mode, oldest first, and has not
// been sent since. They are copies whose contexts keep their values but never
// end.
func (p *Publisher) FailedMessages() []events.FailedMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return exported(p.failed)
}

// TakeFailed returns the failed messages, like FailedMessages, and forgets
// them, which makes room in the buffer: they are the caller's now, to be saved
// or dropped. Those that are under way at this moment stay listed.
func (p *Publisher) TakeFailed() []events.FailedMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken []*failure
	for _, f := range p.failed {
		if !f.underway {
			f.gone = true
			taken = append(taken, f)
		}
	}
	p.forget()
	p.offerRoom(true)
	return exported(taken)
}

// RetryFailed publishes the failed messages again, in order, in batches of one
// topic, until ctx ends. Each stays in FailedMessages until it has been
// published. What fails again, or has not been tried before ctx ended, is
// returned as an *events.PublishError. What went out before is not sent again.
// One RetryFailed runs at a time; others wait for it.
func (p *Publisher) RetryFailed(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.wait(ctx, func() bool { return p.retry == nil }); err != nil {
		return fmt.Errorf("batching: waiting for another RetryFailed: %w", err)
	}
	if len(p.failed) == 0 {
		return nil
	}
	r := &retry{p: p, ctx: ctx, listed: slices.Clone(p.failed)}
	r.rest = r.listed
	p.retry = r
	go p.work(r)
	// If ctx ends first, r goes on with the batch that is under way.
	_ = p.wait(ctx, func() bool { return p.retry != r })
	return r.err()
}

// retry is one RetryFailed. Its fields are guarded by the publisher's lock.
type retry struct {
	p        *Publisher
	ctx      context.Context
	listed   []*failure // when it began
	rest     []*failure // of those, the ones not tried yet
	underway *batch     // or waiting for its slot
}

// next returns the next batch, with a slot, or nil when the retry is over.
func (r *retry) next() *batch {
	p := r.p
	p.mu.Lock()
	defer p.mu.Unlock()
	r.underway = nil
	before := r.rest
	if b := r.take(); b != nil {
		r.underway = b
		p.mu.Unlock()
		var ended bool
		select {
		case p.slots <- struct{}{}:
		case <-r.ctx.Done():
			ended = true
		}
		p.mu.Lock()
		if !ended {
			p.active++
			return b
		}
		for _, f := range b.kept {
			f.underway = false
		}
		r.rest = before
	}
	p.retry = nil
	p.notify()
	return nil
}

// take makes a batch of the next messages, if ctx has not ended.
func (r *retry) take() *batch {
	if r.ctx.Err() != nil {
		return nil
	}
	b, bytes := &batch{until: r.ctx}, 0
	for ; len(r.rest) > 0; r.rest = r.rest[1:] {
		f := r.rest[0]
		if f.gone || f.underway {
			continue
		}
		size := len(f.Message.Payload)
		if len(b.items) > 0 && (len(b.items) == r.p.cfg.MaxSize || bytes+size > r.p.cfg.MaxBytes || f.Topic != b.topic) {
			break
		}
		f.underway = true
		bytes += size
		b.topic, b.items, b.kept = f.Topic, append(b.items, item{msg: f.Message}), append(b.kept, f)
	}
	if len(b.items) == 0 {
		return nil
	}
	return b
}

// err says of each message that is still listed why it is.
func (r *retry) err() error {
	failed := &events.PublishError{Total: len(r.listed)}
	for i, f := range r.listed {
		again, cause := f.FailedMessage, context.Cause(r.ctx)
		switch {
		case f.gone:
			continue
		case f.underway:
			again.Err = fmt.Errorf("batching: under way, may be published all the same: %w", cmp.Or(cause, f.Err))
		case i >= len(r.listed)-len(r.rest):
			again.Err = fmt.Errorf("batching: not tried again: %w; it has failed with: %w", cause, f.Err)
		}
		failed.Failed = append(failed.Failed, again)
	}
	if len(failed.Failed) == 0 {
		return nil
	}
	failed.Topic = failed.Failed[0].Topic
	return failed
}

// giveUp has the retry end after the batch that is under way.
func (r *retry) giveUp(unknown error) {
	r.rest = nil
	if r.underway != nil {
		for _, f := range r.underway.kept {
			f.Err = unknown
		}
	}
}
