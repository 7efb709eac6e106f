package router

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// Run receives and handles deliveries until ctx ends; then it drains and
// returns nil.
//
// Draining: nothing more is received, deliveries that no handler has begun are
// released (those of ordered lanes at the end, in order), and handlers go on with
// their contexts alive. After
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
	sources, err := r.open()
	if err != nil {
		return err
	}
	defer r.setState(StateStopped)
	s := newSession(r, sources)
	err = s.serve(ctx)
	cerr := closeAll(sources)
	if cerr == nil {
		r.counts.settled[transport.Release].Add(s.left.Load())
	} else {
		r.counts.unsettled.Add(s.left.Load())
	}
	return errors.Join(err, cerr)
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
	if r.cfg.MaxInFlight == 0 {
		r.cfg.MaxInFlight = DefaultSpareInFlight
		for _, l := range r.lanes {
			r.cfg.MaxInFlight += len(r.cfg.weights()) * (l.Concurrency + l.Prefetch)
		}
	}
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

// session is one run of a router: sources that receive and settle, and lanes
// that handle.
type session struct {
	*Router
	log     *slog.Logger
	opened  time.Time
	sources []*source // by weight, the heaviest first
	lanes   []*lane   // by LaneConfig.index

	numbers   atomic.Int64 // of jobs, as they arrive
	held      atomic.Int64 // received and not decided
	heldBytes atomic.Int64 // of their payloads
	left      atomic.Int64 // undecided, for Close to release
	full      atomic.Bool  // a source waits for held or heldBytes to go down
	overdue   atomic.Bool  // the drain deadline has passed

	arrived chan struct{} // tells watch that something is held
}

func newSession(r *Router, sources []*source) *session {
	s := &session{Router: r, log: r.cfg.Logger, opened: time.Now(), sources: sources, arrived: make(chan struct{}, 1)}
	for _, cfg := range r.lanes {
		s.lanes = append(s.lanes, newLane(s, cfg))
	}
	for _, h := range r.all {
		l := s.lanes[h.group.lane.index]
		l.used = true
		h.route.Freed = l.freed
	}
	if len(r.all) == 0 {
		s.lanes[0].used = true // All that comes is unknown.
	}
	backlog := 0
	for _, l := range s.lanes {
		backlog += l.window
	}
	for _, from := range sources {
		from.session = s
		from.sorted = make([]bunch, len(s.lanes))
		from.backlog = backlog
	}
	return s
}

func (s *session) serve(ctx context.Context) error {
	receiving, stop := context.WithCancel(ctx)
	defer stop()
	// Neither handlers nor settlements end with ctx: they are drained.
	settling, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	handled := make(chan struct{})
	settled := s.settleAll(settling, handled)
	for _, l := range s.lanes {
		for _, w := range l.workers {
			go w.run()
		}
	}
	var watching sync.WaitGroup
	watching.Go(func() { s.watch(receiving) })
	s.begin()

	err := s.receiveAll(receiving, stop)
	watching.Wait()
	s.setState(StateDraining)
	s.release()

	deadline := time.NewTimer(s.Router.cfg.DrainTimeout)
	defer deadline.Stop()
	end := time.NewTimer(withGrace(s.Router.cfg.DrainTimeout))
	defer end.Stop()
	if stuck := s.drain(deadline.C, end.C, giveUp); stuck != nil {
		err = errors.Join(err, stuck)
	}
	close(handled)
	select {
	case <-settled:
	case <-end.C:
		giveUp()
		<-settled // Settle returns when its context ends.
	}
	return err
}

// settleAll settles until handled is closed and nothing is left; then it closes
// the channel that it returns.
func (s *session) settleAll(ctx context.Context, handled <-chan struct{}) <-chan struct{} {
	var all sync.WaitGroup
	for _, from := range s.sources {
		all.Go(func() { from.settle(ctx, handled) })
	}
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		all.Wait()
	}()
	return settled
}

// receiveAll returns when ctx has ended or one of the sources has failed, and
// all have stopped.
func (s *session) receiveAll(ctx context.Context, stop func()) error {
	errs := make([]error, len(s.sources))
	var all sync.WaitGroup
	for i, from := range s.sources {
		all.Go(func() {
			defer stop()
			errs[i] = from.receive(ctx)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// release gives back what no handler has begun, in the order in which it came;
// what has an order by key follows when the receivers are closed.
func (s *session) release() {
	var rest []*job
	for _, l := range s.lanes {
		rest = append(rest, l.close()...)
	}
	slices.SortFunc(rest, func(a, b *job) int { return cmp.Compare(a.number, b.number) })
	for _, j := range rest {
		s.settled(j, j.delivery.Release())
	}
	for _, l := range s.lanes {
		l.timers.Wait()
	}
}

// withGrace adds how long after the end of their contexts handlers may take to
// return, and outcomes to be settled.
func withGrace(drain time.Duration) time.Duration {
	grace := max(drain/10, 250*time.Millisecond)
	return drain + min(grace, math.MaxInt64-drain) // The sum must not overflow.
}

// drain waits for the workers. At the deadline it ends the handlers' contexts; at
// the end it gives up on handlers and outcomes that are not done by then.
func (s *session) drain(deadline, end <-chan time.Time, giveUp func()) error {
	var busy []*worker
	for _, l := range s.lanes {
		busy = append(busy, l.workers...) // Nobody changes them once the lane is closed.
	}
	for len(busy) > 0 {
		select {
		case <-busy[0].done:
			busy = busy[1:]
		case <-deadline:
			s.overdue.Store(true)
			for _, w := range busy {
				w.end(events.ErrReleased)
			}
		case <-end:
			giveUp()
			return s.abandon(busy)
		}
	}
	return s.abandon(nil)
}

// abandon leaves workers to themselves whose handlers do not return, and waits
// for the others.
func (s *session) abandon(busy []*worker) error {
	stuck := &StuckError{}
	for _, l := range s.lanes {
		busy = append(busy, l.strays()...)
	}
	for _, w := range busy {
		if h := w.retire(); h != nil {
			stuck.Handlers = append(stuck.Handlers, *h)
		} else {
			<-w.done
		}
	}
	if len(stuck.Handlers) == 0 {
		return nil
	}
	return stuck
}
