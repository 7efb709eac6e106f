package transport

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Route is what a router tells middleware about a handler.
type Route struct {
	// Publisher and Topic are where the router publishes what the handler returns;
	// nil if it may return nothing.
	Publisher message.Publisher
	Topic     string
	// Freed, if it is not nil, is called whenever a lot is no longer Busy. Set it before
	// the first lot is made. It must not wait.
	Freed func()

	mu    sync.Mutex
	hooks atomic.Pointer[[]hook]
}

type hook struct {
	key any
	see func(*Lot)
}

// LookAhead makes the router call see for each later lot of the handler, before any
// of its deliveries is handled, so that a middleware may do for all of them in
// one go what would else be a round trip for each. see must not wait: it is called
// by the goroutine that receives. A second call with the same key changes nothing.
func (r *Route) LookAhead(key any, see func(*Lot)) {
	if r.looksAhead(key) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.looksAhead(key) {
		return
	}
	var hooks []hook
	if all := r.hooks.Load(); all != nil {
		hooks = slices.Clone(*all)
	}
	hooks = append(hooks, hook{key, see})
	r.hooks.Store(&hooks)
}

func (r *Route) looksAhead(key any) bool {
	all := r.hooks.Load()
	return all != nil && slices.ContainsFunc(*all, func(h hook) bool { return h.key == key })
}

// Lot is deliveries that were received together and go to the same handler.
type Lot struct {
	*Route
	Deliveries []*Delivery

	values []lotValue
	busy   atomic.Int32
	stuck  atomic.Bool
	held   []atomic.Pointer[Held] // by each of Deliveries
}

type lotValue struct{ key, value any }

// NewLot makes a lot of deliveries and shows it to who looks ahead. The router calls
// it before it hands the deliveries to handlers. It keeps no hold of ds.
func NewLot(r *Route, ds []*Delivery) {
	l := newLot(len(ds))
	l.Route = r
	copy(l.Deliveries, ds)
	for i, d := range ds {
		d.lot, d.place = l, i
	}
	if hooks := r.hooks.Load(); hooks != nil {
		for _, h := range *hooks {
			h.see(l)
		}
	}
}

// newLot allocates once for a single delivery, as that is what arrives where little does.
func newLot(n int) *Lot {
	if n == 1 {
		var one struct {
			Lot
			delivery [1]*Delivery
			held     [1]atomic.Pointer[Held]
		}
		one.Deliveries, one.Lot.held = one.delivery[:], one.held[:]
		return &one.Lot
	}
	return &Lot{Deliveries: make([]*Delivery, n), held: make([]atomic.Pointer[Held], n)}
}

// Set keeps a value for Value, within see of Route.LookAhead only.
func (l *Lot) Set(key, value any) { l.values = append(l.values, lotValue{key, value}) }

// Value returns what was Set, or nil.
func (l *Lot) Value(key any) any {
	for _, v := range l.values {
		if v.key == key {
			return v.value
		}
	}
	return nil
}

// Busy reports whether a middleware is at something for the lot that handlers of all its
// deliveries would have to wait for. A router had better give none of them to a
// handler until it is Freed: that costs less than to have all wait. It is no promise;
// middleware makes those that come all the same wait.
func (l *Lot) Busy() bool { return l.busy.Load() > 0 && !l.stuck.Load() }

// While calls do, and makes the lot Busy meanwhile.
func (l *Lot) While(do func()) {
	l.busy.Add(1)
	defer func() {
		if l.busy.Add(-1) == 0 {
			l.free()
		}
	}()
	do()
}

// Unblock makes the lot Busy no more: who is at something does not come to an end.
func (l *Lot) Unblock() {
	if !l.stuck.Swap(true) {
		l.free()
	}
}

func (l *Lot) free() {
	if l.Route != nil && l.Freed != nil {
		l.Freed()
	}
}

// Lot returns the lot that the delivery is one of, and its index there; nil where
// the router makes none.
func (d *Delivery) Lot() (*Lot, int) { return d.lot, d.place }
