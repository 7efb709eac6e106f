package batching

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

type queueKey struct{ topic, batch string }

// item is one message on its way.
type item struct {
	msg   *message.Message
	call  *call // nil when Buffered
	index int   // in the call
}

// queue holds the messages of one batch name and topic. At most one batch of
// it is under way, which keeps them in order. All fields but p and key are
// guarded by the publisher's lock.
type queue struct {
	p   *Publisher
	key queueKey

	items   []item
	bytes   int
	fresh   int       // how many of the items, from the end, still wait for more
	since   time.Time // when the first of those came
	busy    bool      // its goroutine runs
	timer   *time.Timer
	added   int // ever
	settled int // ever
}

func (q *queue) add(it item) {
	q.items = append(q.items, it)
	q.bytes += len(it.msg.Payload)
	q.added++
	if q.fresh++; q.fresh == 1 {
		q.since = time.Now()
	}
	if q.p.cfg.MaxWait == 0 || q.fresh >= q.p.cfg.MaxSize || q.freshBytes() >= q.p.cfg.MaxBytes {
		q.fresh = 0
	}
	q.proceed()
}

// freshBytes are those of the messages that still wait for more.
func (q *queue) freshBytes() (n int) {
	if q.bytes < q.p.cfg.MaxBytes {
		return q.bytes // An upper bound, and below the limit: no need to count.
	}
	for _, it := range q.items[len(q.items)-q.fresh:] {
		n += len(it.msg.Payload)
	}
	return n
}

// due reports whether there are messages that need wait no longer.
func (q *queue) due() bool { return len(q.items) > q.fresh }

// proceed starts what is to be done next: a batch, or the wait for more.
func (q *queue) proceed() {
	switch {
	case q.busy:
	case q.due():
		q.stopTimer()
		q.busy = true
		q.p.running.Go(q.run)
	case len(q.items) > 0 && q.timer == nil:
		q.timer = time.AfterFunc(q.p.cfg.MaxWait-time.Since(q.since), func() {
			q.p.mu.Lock()
			defer q.p.mu.Unlock()
			q.timer = nil
			q.flush()
		})
	case len(q.items) == 0:
		q.stopTimer()
		delete(q.p.queues, q.key)
	}
}

// flush makes everything that is queued due.
func (q *queue) flush() {
	q.fresh = 0
	q.proceed()
}

func (q *queue) stopTimer() {
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
}

// run publishes batches until nothing is due.
func (q *queue) run() {
	for more := true; more; {
		q.p.slots <- struct{}{}
		q.p.mu.Lock()
		batch, bytes := q.take()
		q.p.active++
		q.p.mu.Unlock()

		errs := q.publish(batch)

		<-q.p.slots
		q.p.mu.Lock()
		q.p.active--
		q.settle(batch, bytes, errs)
		if more = q.due(); !more {
			q.busy = false
			q.proceed()
		}
		q.p.mu.Unlock()
	}
}

// take removes the next batch from the queue.
func (q *queue) take() (batch []item, bytes int) {
	for _, it := range q.items {
		size := len(it.msg.Payload)
		if len(batch) == q.p.cfg.MaxSize || (len(batch) > 0 && bytes+size > q.p.cfg.MaxBytes) {
			break
		}
		batch = append(batch, it)
		bytes += size
	}
	q.items = slices.Delete(q.items, 0, len(batch))
	q.bytes -= bytes
	q.fresh = min(q.fresh, len(q.items))
	return batch, bytes
}

// publish sends a batch and returns the error of each message.
func (q *queue) publish(batch []item) []error {
	errs := make([]error, len(batch))
	if len(batch) == 0 {
		return errs // All were withdrawn.
	}
	msgs := make([]*message.Message, len(batch))
	for i, it := range batch {
		msgs[i] = it.msg
		if it.call == nil || len(batch) > 1 {
			// The end of one caller's context must not end a batch of several. The
			// copy keeps its values, such as the trace.
			msgs[i] = it.msg.Copy()
			msgs[i].SetContext(context.WithoutCancel(it.msg.Context()))
		}
	}
	err := q.call(msgs)
	if err == nil {
		return errs
	}
	if listed(err, msgs, errs) {
		return errs
	}
	for i := range errs {
		errs[i] = err
	}
	return errs
}

// listed sets the errors of the messages that err lists as failed. It reports
// false if err does not tell for sure which ones failed.
func listed(err error, msgs []*message.Message, errs []error) bool {
	var partial *events.PublishError
	for e := err; e != nil && partial == nil; e = errors.Unwrap(e) { // no further than a join of several
		partial, _ = e.(*events.PublishError)
	}
	if partial == nil || len(partial.Failed) == 0 {
		return false
	}
	found := make([]int, len(partial.Failed))
	for i, f := range partial.Failed {
		if found[i] = slices.Index(msgs, f.Message); found[i] < 0 && f.Message != nil && f.Message.UUID != "" {
			// A publisher in between may have made copies.
			found[i] = slices.IndexFunc(msgs, func(m *message.Message) bool { return m.UUID == f.Message.UUID })
		}
		if found[i] < 0 {
			return false
		}
	}
	for i, f := range partial.Failed {
		errs[found[i]] = cmp.Or(f.Err, err)
	}
	return true
}

func (q *queue) call(msgs []*message.Message) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %w", errPanicked, &events.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	return q.p.next.Publish(q.key.topic, msgs...)
}

// settle hands each message's result to whom it concerns.
func (q *queue) settle(batch []item, bytes int, errs []error) {
	var first error
	failures := 0
	for i, it := range batch {
		if it.call != nil {
			it.call.done(it.index, errs[i])
		} else if errs[i] != nil {
			failures++
			first = cmp.Or(first, errs[i])
			q.p.failed = append(q.p.failed, events.FailedMessage{Topic: q.key.topic, Message: it.msg, Err: errs[i]})
		}
	}
	if failures > 0 {
		q.p.cfg.Logger.Error("batching: messages failed and are kept: see FailedMessages", "topic", q.key.topic, "failed", failures, "of", len(batch), "error", first)
	}
	q.settled += len(batch)
	q.p.release(len(batch), bytes)
}

// withdraw removes the messages of a call that has ended.
func (q *queue) withdraw(c *call, cause error) {
	kept := q.items[:0]
	fresh, bytes := q.fresh, 0
	for i, it := range q.items {
		if it.call != c {
			kept = append(kept, it)
			continue
		}
		if i >= len(q.items)-q.fresh {
			fresh--
		}
		bytes += len(it.msg.Payload)
		it.call.done(it.index, fmt.Errorf("batching: not published: %w", cause))
	}
	removed := len(q.items) - len(kept)
	if removed == 0 {
		return
	}
	clear(q.items[len(kept):])
	q.items = kept
	q.fresh = fresh
	q.bytes -= bytes
	q.settled += removed
	q.p.release(removed, bytes)
}
