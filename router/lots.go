package router

import (
	"slices"

	"github.com/logistically/events/transport"
)

// mostInLot is how many deliveries a middleware may deal with in one go: enough to
// share the cost of a round trip, and few enough that the last one does not wait for long.
const mostInLot = 64

// lots puts the deliveries of a page together by handler, for middleware that does
// something for many of them at once.
type lots struct {
	open []openLot
}

type openLot struct {
	handler    *handler
	deliveries []*transport.Delivery
}

// make makes lots of what a page has for each lane. It must be done before the lanes
// get it.
func (l *lots) make(page []bunch) {
	for _, b := range page {
		for _, j := range b.jobs {
			if j.handler != nil && j.handler.wrapped {
				l.add(j.handler, j.delivery)
			}
		}
	}
	for i := range l.open {
		o := &l.open[i]
		transport.NewLot(&o.handler.route, o.deliveries)
		clear(o.deliveries)
		o.handler, o.deliveries = nil, o.deliveries[:0]
	}
	l.open = l.open[:0]
}

// add adds a delivery to the lot of its handler.
func (l *lots) add(h *handler, d *transport.Delivery) {
	at := slices.IndexFunc(l.open, func(o openLot) bool { return o.handler == h && len(o.deliveries) < mostInLot })
	if at < 0 {
		at = len(l.open)
		l.open = slices.Grow(l.open, 1)[:at+1] // What was there has slices to use again.
		l.open[at].handler = h
	}
	l.open[at].deliveries = append(l.open[at].deliveries, d)
}

// postpone keeps a job for later whose lot is busy: its handler would only wait, and a
// goroutine that waits costs more than a job that does. The caller holds the lock.
func (l *lane) postpone(j *job) bool {
	lot, _ := j.delivery.Lot()
	if lot == nil || !lot.Busy() {
		return false
	}
	l.later = append(l.later, j)
	return true
}

// freed brings back, before all others, what was kept for later and waits no more.
func (l *lane) freed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	some := false
	for i, j := range slices.Backward(l.later) {
		if lot, _ := j.delivery.Lot(); !lot.Busy() {
			l.classes[j.from.class].ready.pushFirst(j)
			l.later[i], some = nil, true
		}
	}
	if some {
		l.later = slices.DeleteFunc(l.later, func(j *job) bool { return j == nil })
		l.wake()
	}
}
