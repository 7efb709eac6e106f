package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

type receiver struct {
	broker *Broker
	cfg    SubscriberConfig
	topics []*topic
	closed chan struct{}

	// Guarded by the broker's lock.
	ended   bool      // by Close or Crash
	expires time.Time // after a crash: when the lease has run out
}

// Capabilities implements transport.Receiver.
func (r *receiver) Capabilities() transport.Capabilities {
	return transport.Capabilities{DeadLetter: true, Attempts: true}
}

// Receive implements transport.Receiver.
func (r *receiver) Receive(ctx context.Context, most int) ([]*transport.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("memory: receive: %w", err)
		}
		b := r.broker
		b.mu.Lock()
		if r.ended {
			b.mu.Unlock()
			return nil, fmt.Errorf("memory: receive: receiver %w", events.ErrClosed)
		}
		now := time.Now()
		page, next := r.take(max(most, 1), now)
		changed := b.changed
		b.mu.Unlock()
		if len(page) > 0 {
			return page, nil
		}
		r.wait(ctx, changed, next, now)
	}
}

// wait returns when there may be something to receive, or a reason to stop.
func (r *receiver) wait(ctx context.Context, changed <-chan struct{}, next, now time.Time) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(next.Sub(now))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-changed:
	case <-due:
	case <-r.closed:
	case <-ctx.Done():
	}
}

// take delivers what is there; next is when there will be more, or zero. The
// caller holds the lock.
func (r *receiver) take(most int, now time.Time) (page []*transport.Delivery, next time.Time) {
	earliest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, t := range r.topics {
		g := t.groups[r.cfg.Group]
		if r.broker.lapsing {
			g.reclaim(now, earliest)
		}
		g.promote(now, earliest)
		if !r.mayTake(g, now, earliest) {
			continue
		}
		for len(page) < most && len(g.queue) > 0 {
			page = append(page, r.deliver(t, g, g.queue[0].entry, g.queue[0].attempt))
			if trace := g.queue[0].trace; trace != "" {
				page[len(page)-1].Message.Metadata.Set(transport.MetadataFailureTrace, trace)
			}
			g.queue = g.queue[1:]
		}
		for len(page) < most {
			e := t.undelivered(g)
			if e == nil {
				break
			}
			g.next = e.number + 1
			page = append(page, r.deliver(t, g, e, 1))
		}
	}
	return page, next
}

func (r *receiver) deliver(t *topic, g *group, e *entry, attempt int) *transport.Delivery {
	msg := detached(e.msg)
	ctx, cancel := context.WithCancelCause(context.Background())
	msg.SetContext(ctx)
	own := &delivery{broker: r.broker, group: r.cfg.Group}
	own.Delivery = transport.Delivery{Message: msg, Topic: t.name, ID: e.id(), Attempt: attempt, Stored: e.stored, Receipt: own}
	d := &own.Delivery
	g.pending[d] = &pending{entry: e, owner: r, cancel: cancel}
	return d
}

// promote queues what is due.
func (g *group) promote(now time.Time, earliest func(time.Time)) {
	g.delayed = slices.DeleteFunc(g.delayed, func(w *waiting) bool {
		if w.due.After(now) {
			earliest(w.due)
			return false
		}
		g.queue = append(g.queue, w)
		return true
	})
}

// reclaim queues, in the order of the topic, the deliveries whose lease has run out.
func (g *group) reclaim(now time.Time, earliest func(time.Time)) {
	var lost []*transport.Delivery
	for d, p := range g.pending {
		expires := p.expires
		if expires.IsZero() {
			expires = p.owner.expires
		}
		switch {
		case expires.IsZero():
		case expires.After(now):
			earliest(expires)
		default:
			lost = append(lost, d)
		}
	}
	g.queue = append(g.queue, g.requeue(lost, 1, transport.ErrLeaseLost)...)
}

// requeue ends the hold on deliveries and returns what is to be delivered again, in the
// order of the topic.
func (g *group) requeue(deliveries []*transport.Delivery, attempts int, cause error) (again []*waiting) {
	slices.SortFunc(deliveries, func(a, b *transport.Delivery) int { return g.pending[a].entry.number - g.pending[b].entry.number })
	for _, d := range slices.Backward(deliveries) { // None may begin because the one before it has ended.
		g.pending[d].cancel(cause)
	}
	for _, d := range deliveries {
		again = append(again, &waiting{entry: g.pending[d].entry, attempt: d.Attempt + attempts})
		delete(g.pending, d)
	}
	return again
}

func byEntry(a, b *waiting) int { return a.entry.number - b.entry.number }

// Close implements transport.Receiver.
func (r *receiver) Close() error {
	r.broker.mu.Lock()
	defer r.broker.mu.Unlock()
	if r.ended {
		return nil
	}
	r.ended = true
	close(r.closed)
	for _, t := range r.topics {
		g := t.groups[r.cfg.Group]
		r.takeBack(g, fmt.Errorf("memory: receiver %w", events.ErrClosed))
		slices.SortStableFunc(g.queue, byEntry)
	}
	r.broker.wake()
	return nil
}

// takeBack queues what the receiver holds of a group again, at no attempt. The caller holds the lock.
func (r *receiver) takeBack(g *group, cause error) {
	var held []*transport.Delivery
	for d, p := range g.pending {
		if p.owner == r {
			held = append(held, d)
		}
	}
	g.queue = append(g.queue, g.requeue(held, 0, cause)...)
}

// Crash ends a receiver of this package as a crash of its process would, for
// tests: it releases nothing, and what it held is delivered to others once
// its lease has run out.
func Crash(r transport.Receiver) {
	crashed, ok := r.(*receiver)
	if !ok {
		return
	}
	crashed.broker.mu.Lock()
	defer crashed.broker.mu.Unlock()
	if !crashed.ended {
		crashed.ended = true
		crashed.broker.lapsing = true
		crashed.expires = time.Now().Add(crashed.cfg.Lease)
		close(crashed.closed)
		crashed.broker.wake()
	}
}
