package batching

import (
	"fmt"
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// A call in Wait mode that finds nothing of its batch name waiting or under way
// is a batch by itself, unless others are to be waited for. It is published as it
// is by its own goroutine: another one would have to be woken for it, which costs
// a good part of what publishing does.
//
// So is a large call, beside what is under way: it gains nothing by waiting for
// company, and nobody can tell an order between calls that run at the same time.

// large is from how many messages on a call is large.
const large = 64

// begin returns the queue of a call that can be published alone, with its batch
// under way and a slot, or nil.
func (p *Publisher) begin(topic string, msgs []*message.Message, keys []queueKey) *queue {
	if p.cfg.MaxWait > 0 || len(msgs) > p.cfg.MaxSize {
		return nil
	}
	ctx, bytes := msgs[0].Context(), 0
	for i, msg := range msgs {
		if keys[i] != keys[0] || msg.Context().Done() != ctx.Done() {
			return nil
		}
		bytes += len(msg.Payload)
	}
	if bytes > p.cfg.MaxBytes || ctx.Err() != nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := keys[0]
	for len(msgs) >= large && p.queues[key] != nil && key.beside < p.cfg.MaxConcurrentBatches {
		key.beside++
	}
	if p.closed || p.queues[key] != nil || !p.hasRoom(len(msgs), bytes) {
		return nil
	}
	select {
	case p.slots <- struct{}{}:
	default:
		return nil
	}
	q := p.queueOf(key)
	q.busy = true
	q.alone = batch{topic: topic, first: p.last + 1, queue: q}
	q.underway = &q.alone
	p.last += uint64(len(msgs))
	p.held += len(msgs)
	p.bytes += bytes
	p.active++
	return q
}

// publishAlone publishes a call that has begun.
func (p *Publisher) publishAlone(q *queue, msgs []*message.Message) (err error) {
	defer func() { // also when the publisher beneath ends this goroutine
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %w", errPanicked, &events.PanicError{Value: v, Stack: debug.Stack()})
		}
		topic := q.alone.topic
		p.end(q, msgs)
		if err != nil {
			err = listed(topic, msgs, err)
		}
	}()
	return p.next.Publish(q.alone.topic, msgs...)
}

// end lets those go on who have come meanwhile.
func (p *Publisher) end(q *queue, msgs []*message.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	p.held -= len(msgs)
	for _, msg := range msgs {
		p.bytes -= len(msg.Payload)
	}
	<-p.slots
	q.underway, q.busy = nil, false
	p.offerRoom(q.items.len() == 0)
	q.proceed()
	p.notify()
}

// listed says of a call's messages which ones failed, given what the publisher
// beneath said.
func listed(topic string, msgs []*message.Message, err error) error {
	errs, _ := events.FailedOf(err, msgs)
	failed := &events.PublishError{Topic: topic, Total: len(msgs)}
	for i, err := range errs {
		if err != nil {
			failed.Failed = append(failed.Failed, events.FailedMessage{Topic: topic, Message: msgs[i], Err: err})
		}
	}
	return failed
}
