package redis

import (
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// entry is a delivery and what the receiver knows of it.
type entry struct {
	transport.Delivery
	message message.Message
	context deliveryContext // the message's
	*record
	item int32 // of an entry that carries many messages: which of them this is, or whole

	// Guarded by the receiver's lock.
	state      state
	prev, next *entry // in held
}

// record is an entry of a stream as it was read. All deliveries that it carries share it.
type record struct {
	receiver *receiver
	stream   *stream
	id       string  // in stream
	fields   fields  // as they were read; see original
	reads    int64   // how often the server had delivered it when it became ours
	bundle   *bundle // of an entry that carries many messages; or else nil

	confirmed time.Time // before the command was sent that last made the entry ours; guarded by the receiver's lock
}

// state is where an entry is on its way.
type state uint8

const (
	ready     state = iota + 1 // read, not handed over
	given                      // handed over, not settled
	settling                   // a Settle call is at it
	unsettled                  // a Settle call has failed: its lease runs out
	done                       // settled, or somebody else's
)

// list is a list of entries, those first whose lease is oldest. It has no lock.
type list struct {
	first, last *entry
	size        int
}

func (l *list) push(e *entry) {
	e.prev, e.next = l.last, nil
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
	l.size++
}

func (l *list) remove(e *entry) {
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.size--
}

// renewed moves an entry to the end: its lease was made ours again at that time.
func (l *list) renewed(e *entry, at time.Time) {
	e.confirmed = at
	l.remove(e)
	l.push(e)
}

// take ends the hold on an entry and puts it into another state. It returns the
// one that it was in, and false if somebody was faster.
func (r *receiver) take(e *entry, to state) (was state, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked(e, to)
}

// takeLocked is take for callers that hold the lock.
func (r *receiver) takeLocked(e *entry, to state) (was state, ok bool) {
	was = e.state
	switch {
	case was == ready, was == given:
		r.held.remove(e)
		if to == done {
			e.stream.count(-1)
		}
	case was == unsettled && to == settling: // another try
		e.stream.count(1)
	default:
		return was, false
	}
	e.state = to
	return was, true
}

// orphan reports whether the group of an entry was gone since the entry became
// ours. If it is not pending then, it is nobody's, and the last that there is of it.
func (r *receiver) orphan(e *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return e.confirmed.Before(e.stream.gone)
}

// lose ends the context of the deliveries of an entry that is somebody else's by now.
func (r *receiver) lose(e *entry) {
	lost := int64(0)
	for _, s := range slices.Backward(r.sharers(e)) { // None may begin because the one before it has ended.
		if _, ok := r.take(s, done); ok {
			s.context.end(lostContext)
			lost++
		}
	}
	if lost > 0 {
		r.incidents.leases.Add(lost)
		r.cfg.Logger.Warn("redis: lease lost", "topic", e.Topic, "id", e.ID, "event", e.Message.UUID, "deliveries", lost)
	}
}

// snapshot returns the entries that are held and fulfil want, oldest lease first.
func (r *receiver) snapshot(want func(*entry) bool) (entries []*entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for e := r.held.first; e != nil; e = e.next {
		if want(e) {
			entries = append(entries, e)
		}
	}
	return entries
}
