package batching

import (
	"container/list"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

type queueKey struct {
	topic, batch string
	beside       int // tells the large calls apart that run beside the queue; see alone.go
}

// item is one message on its way.
type item struct {
	msg    *message.Message
	number uint64  // counts all messages of the publisher
	result *result // nil when Buffered
}

// queue holds the messages of one batch name and topic. At most one batch of
// it is under way, which keeps them in order. It exists as long as it has
// messages. All fields but p and key are guarded by the publisher's lock.
type queue struct {
	p   *Publisher
	key queueKey

	items    line
	busy     bool   // its goroutine runs, or that of a lone call
	underway *batch // that is being published
	alone    batch  // room for the one of a lone call

	// The last ones of the items may still wait for more to come.
	fresh      int
	freshBytes int
	since      time.Time     // when the first of those came
	gathering  *list.Element // in the publisher's list, as long as there are any
}

// mostSpare is how many queues without messages are kept for later ones: one that
// is filled now and then would be made anew each time.
const mostSpare = 16

// queueOf returns the queue of a key. The caller holds the lock and puts
// messages into it.
func (p *Publisher) queueOf(key queueKey) *queue {
	q := p.queues[key]
	if q != nil {
		return q
	}
	if n := len(p.spare); n > 0 {
		q, p.spare = p.spare[n-1], p.spare[:n-1]
		q.key = key
	} else {
		q = &queue{p: p, key: key}
	}
	p.queues[key] = q
	return q
}

// removeQueue takes a queue out that has no messages any more.
func (p *Publisher) removeQueue(q *queue) {
	delete(p.queues, q.key)
	if len(p.spare) < mostSpare && cap(q.items.items) <= 4*p.cfg.MaxSize {
		q.key = queueKey{}
		p.spare = append(p.spare, q)
	}
}

func (q *queue) add(it item) {
	q.items.add(it)
	if it.result != nil {
		it.result.queue, it.result.number = q, it.number
	}
	if q.p.cfg.MaxWait > 0 {
		q.gather(len(it.msg.Payload))
	}
	q.proceed()
}

// due reports whether there are messages that need wait no longer.
func (q *queue) due() bool { return q.items.len() > q.fresh }

// proceed starts what is to be done next.
func (q *queue) proceed() {
	switch {
	case q.busy:
	case q.due():
		q.busy = true
		go q.p.work(q)
	case q.items.len() == 0:
		q.p.removeQueue(q)
		q.p.notify()
	}
}

// oldest returns the number of the first message that is not done with.
func (q *queue) oldest() uint64 {
	switch {
	case q.underway != nil:
		return q.underway.first
	case q.items.len() > 0:
		return q.items.first().number
	default:
		return math.MaxUint64
	}
}

// next waits for a slot and takes the next batch for it. If it returns nil,
// the queue is not busy any more.
func (q *queue) next() *batch {
	p := q.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if q.due() {
		select {
		case p.slots <- struct{}{}:
		default:
			p.mu.Unlock()
			p.slots <- struct{}{}
			p.mu.Lock()
		}
		if b := q.take(); b != nil {
			return b
		}
		<-p.slots
	}
	q.busy = false
	q.proceed()
	return nil
}

// take makes a batch of the first messages, if there are any that are due. Those
// whose callers have gone are told so instead.
func (q *queue) take() *batch {
	var items []item
	bytes := 0
	for q.items.len() > 0 && len(items) < q.p.cfg.MaxSize && (len(items) > 0 || q.due()) {
		size := len(q.items.first().msg.Payload)
		if len(items) > 0 && bytes+size > q.p.cfg.MaxBytes {
			break
		}
		it := q.leave(0)
		if it.result != nil && it.msg.Context().Err() != nil {
			q.p.done(q.key.topic, it, notPublished(context.Cause(it.msg.Context())))
			q.p.offerRoom(true)
			q.p.notify()
			continue
		}
		if items == nil {
			items = make([]item, 0, min(q.items.len()+1, q.p.cfg.MaxSize))
		}
		items = append(items, it)
		bytes += size
	}
	if items == nil {
		return nil
	}
	q.p.active++
	q.underway = &batch{topic: q.key.topic, first: items[0].number, items: items, queue: q}
	return q.underway
}

// leave takes the item out that has i others before it. There is no other way
// out of the queue.
func (q *queue) leave(i int) item {
	fresh := i >= q.items.len()-q.fresh
	var it item
	if i == 0 {
		it = q.items.take()
	} else {
		it = q.items.remove(i)
	}
	if it.result != nil {
		it.result.queue = nil
	}
	if fresh {
		q.fresh--
		q.freshBytes -= len(it.msg.Payload)
		if q.fresh == 0 {
			q.ripen()
		}
	}
	return it
}

// withdraw tells a caller whose context has ended that its message, which is in
// the queue, is not published.
func (q *queue) withdraw(r *result, cause error) {
	q.p.done(q.key.topic, q.leave(q.items.find(r.number)), notPublished(cause))
	q.p.offerRoom(true)
	q.proceed()
}

func notPublished(cause error) error { return fmt.Errorf("batching: not published: %w", cause) }
