package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// Run receives and handles deliveries until ctx ends; then it drains and
// returns nil.
//
// Draining: nothing more is received, deliveries that no handler has begun are
// released, and handlers go on with their contexts alive. After
// [Config.DrainTimeout] the contexts end with cause events.ErrReleased; a
// handler that then returns an error has its delivery released, at no cost of an
// attempt. A handler that ignores its context is waited for a tenth of
// DrainTimeout longer, at least 250 ms; then Run returns a [*StuckError], and the
// delivery is released without it. Outcomes that a lost server keeps from
// being settled are given up at that moment, too.
//
// Run returns the error of [Router.Check] at once, an error if a middleware
// cannot be built or a receiver not be opened, [ErrRunTwice] at a second call,
// and, drained, the error of a receiver that has failed for good.
func (r *Router) Run(ctx context.Context) (err error) {
	if ctx == nil {
		return errNilContext
	}
	defer r.life.begin(ctx)(&err)
	if err := r.start(); err != nil {
		return err
	}
	topics := strings.Join(r.cfg.Topics, ", ")
	receiver, err := r.open()
	if err != nil {
		return fmt.Errorf("router: open a receiver on %s: %w", topics, err)
	}
	err = newSession(r, receiver).serve(ctx)
	if cerr := receiver.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("router: close the receiver on %s: %w", topics, cerr))
	}
	return err
}

// start freezes the registrations.
func (r *Router) start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inspect()
	if r.started {
		return ErrRunTwice
	}
	r.started = true
	if err := errors.Join(r.refused...); err != nil {
		return err
	}
	for _, h := range r.all {
		if err := h.compile(); err != nil {
			return err
		}
	}
	return nil
}

func (r *Router) open() (receiver transport.Receiver, err error) {
	err = protect(func() (err error) {
		if source, ok := r.cfg.Subscriber.(transport.Source); ok {
			receiver, err = source.Receiver(r.cfg.Topics...)
		} else {
			receiver, err = transport.FromSubscriber(r.cfg.Subscriber, r.cfg.Topics...)
		}
		return err
	})
	return receiver, err
}

// session is one run of a router: a receiving loop, lanes that take deliveries
// from its queue, and a settler that takes the lanes' outcomes.
type session struct {
	*Router
	log      *slog.Logger
	receiver transport.Receiver
	can      transport.Capabilities
	lanes    []*lane

	queue     chan *transport.Delivery // has room for all that is held
	outcomes  chan transport.Outcome
	abandoned chan struct{}   // closed when nobody reads outcomes any more
	stopping  context.Context // ends when no further handler may begin

	capacity int64         // how many deliveries are held at most
	refill   int64         // how much room is worth a call of Receive
	held     atomic.Int64  // received and not decided
	room     chan struct{} // tells the receiving loop of room
}

func newSession(r *Router, receiver transport.Receiver) *session {
	capacity := r.cfg.Concurrency + r.cfg.Prefetch
	s := &session{
		Router:    r,
		log:       r.cfg.Logger,
		receiver:  receiver,
		can:       receiver.Capabilities(),
		lanes:     make([]*lane, r.cfg.Concurrency),
		queue:     make(chan *transport.Delivery, capacity),
		outcomes:  make(chan transport.Outcome, capacity),
		abandoned: make(chan struct{}),
		capacity:  int64(capacity),
		refill:    int64(max(1, r.cfg.Prefetch/2)),
		room:      make(chan struct{}, 1),
	}
	for i := range s.lanes {
		s.lanes[i] = &lane{session: s, done: make(chan struct{})}
	}
	return s
}

func (s *session) serve(ctx context.Context) error {
	stopping, stop := context.WithCancel(ctx)
	defer stop()
	s.stopping = stopping
	// Neither handlers nor settlements end with ctx: they are drained.
	settling, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	lanesDone, settled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(settled)
		s.settle(settling, lanesDone)
	}()
	for _, l := range s.lanes {
		go l.run()
	}
	close(s.running)

	err := s.receive(ctx)
	stop()
	close(s.queue)

	deadline := time.NewTimer(s.cfg.DrainTimeout)
	defer deadline.Stop()
	end := time.NewTimer(withGrace(s.cfg.DrainTimeout))
	defer end.Stop()
	if stuck := s.drain(deadline.C, end.C, giveUp); stuck != nil {
		err = errors.Join(err, stuck)
	}
	close(lanesDone)
	select {
	case <-settled:
	case <-end.C:
		giveUp()
		<-settled // Settle returns when its context ends.
	}
	return err
}

// withGrace adds how long after the end of their contexts handlers may take to
// return, and outcomes to be settled.
func withGrace(drain time.Duration) time.Duration {
	grace := max(drain/10, 250*time.Millisecond)
	return drain + min(grace, math.MaxInt64-drain) // The sum must not overflow.
}

// receive fills the queue until ctx ends or the receiver fails.
func (s *session) receive(ctx context.Context) error {
	for {
		// A call of Receive may be a round trip, so do not make one for every
		// delivery that is decided. Nothing waits for this: as long as there is
		// less room than refill, every lane has work.
		free := s.capacity - s.held.Load()
		for free < s.refill {
			select {
			case <-s.room:
			case <-ctx.Done():
				return nil
			}
			free = s.capacity - s.held.Load()
		}
		var page []*transport.Delivery
		err := protect(func() (err error) {
			page, err = s.receiver.Receive(ctx, int(free))
			return err
		})
		s.counts.received.Add(int64(len(page)))
		s.held.Add(int64(len(page)))
		for _, d := range page {
			s.queue <- d
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("router: receive from %s: %w", strings.Join(s.cfg.Topics, ", "), err)
		}
	}
}

// decided makes room for another delivery.
func (s *session) decided() {
	if s.capacity-s.held.Add(-1) < s.refill {
		return
	}
	select {
	case s.room <- struct{}{}:
	default: // The loop will see this room with the one it was told of.
	}
}

// drain waits for the lanes. At the deadline it ends the handlers' contexts; at
// the end it gives up on handlers and outcomes that are not done by then.
func (s *session) drain(deadline, end <-chan time.Time, giveUp func()) error {
	for i := 0; i < len(s.lanes); {
		select {
		case <-s.lanes[i].done:
			i++
		case <-deadline:
			for _, l := range s.lanes {
				l.cancel(events.ErrReleased)
			}
		case <-end:
			giveUp()
			return s.abandon()
		}
	}
	return nil
}

// abandon leaves lanes to themselves whose handlers do not return, and waits
// for the others.
func (s *session) abandon() error {
	close(s.abandoned)
	stuck := &StuckError{}
	for _, l := range s.lanes {
		if h := l.retire(); h != nil {
			stuck.Handlers = append(stuck.Handlers, *h)
		} else {
			<-l.done
		}
	}
	if len(stuck.Handlers) == 0 {
		return nil
	}
	return stuck
}
