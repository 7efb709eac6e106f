package router

import (
	"github.com/logistically/events/transport"
)

// Each lane has, for each class of topics, a window: Concurrency and Prefetch.
// A source receives as much as the windows have room for. What it gets may be
// for other lanes than those with room; so that these are not kept waiting, it
// goes on all the same, and what goes over a window, or waits aside (behind a
// failed message of its key, or paused), is limited by Config.MaxInFlight alone.

// free returns how many deliveries there is room for, or 0.
func (s *source) free() int {
	if s.pauses.all.Load() || s.pauses.allOf(s.topics) || s.behind() {
		return 0
	}
	room := 0
	for _, l := range s.lanes {
		room += l.room(s.class)
	}
	left := int64(s.Router.cfg.MaxInFlight) - s.held.Load()
	full := left <= 0 || s.heldBytes.Load() >= s.Router.cfg.MaxInFlightBytes
	s.full.Store(left < int64(room) || full)
	if full {
		// Something may have left before anybody could see that it is full.
		left = int64(s.Router.cfg.MaxInFlight) - s.held.Load()
		if left <= 0 || s.heldBytes.Load() >= s.Router.cfg.MaxInFlightBytes {
			return 0
		}
	}
	return int(min(int64(room), left))
}

// behind reports whether settling lags so much that receiving more is of no use.
func (s *source) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.outcomes)+s.settling > s.backlog
}

// room returns how much of a class the lane wants to have. A call of Receive may
// be a round trip, so do not make one for every delivery that is decided. Nothing
// waits for this: as long as there is less room than refill, every worker has work.
func (l *lane) room(class int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.window - l.classes[class].active
	switch {
	case n < l.refill || l.paused || !l.used:
		return 0
	case l.breaker == nil || l.breaker.state == SwitchClosed:
		return n
	case l.breaker.state == SwitchHalfOpen && l.breaker.probe == nil && l.classes[class].ready.size == 0:
		return 1 // to try
	}
	return 0
}

// leave ends a job's way through its lane. The caller holds the lock.
func (l *lane) leave(j *job) {
	if j.line != nil { // A stuck worker reads this, too.
		j.line = nil
	}
	if j.aside {
		return
	}
	c := &l.classes[j.from.class]
	c.active--
	if l.window-c.active >= l.refill {
		signal(j.from.roomy)
	}
}

// setAside says whether a job counts against the window. The caller holds the lock.
func (l *lane) setAside(j *job, aside bool) {
	c := &l.classes[j.from.class]
	switch {
	case j.aside == aside:
		return
	case aside:
		c.active--
	default:
		c.active++
	}
	j.aside = aside
	if l.window-c.active >= l.refill {
		signal(j.from.roomy)
	}
}

// settled passes on the outcome of a job.
func (s *session) settled(j *job, o transport.Outcome) {
	s.let(j)
	j.from.send(o)
}

// giveBack releases a job that no handler has begun.
func (l *lane) giveBack(j *job) {
	if l.cfg.OrderBy != nil {
		l.leftToClose(j)
	} else {
		l.settled(j, j.delivery.Release())
	}
}

// leftToClose leaves a job of an ordered lane to the receiver's Close, which
// releases all that is left in one go, in order, when nothing is read any more. A
// release by Settle could be read back before the next one.
func (s *session) leftToClose(j *job) {
	s.let(j)
	s.left.Add(1)
}

// dropped ends a job whose delivery is somebody else's.
func (s *session) dropped(j *job) {
	s.let(j)
	s.counts.leaseLost.Add(1)
}

// let counts a job as held no more.
func (s *session) let(j *job) {
	s.held.Add(-1)
	s.heldBytes.Add(-j.bytes())
	if s.full.Load() {
		s.rouse()
	}
}

// rouse makes all receiving loops look for room again.
func (s *session) rouse() {
	for _, from := range s.sources {
		signal(from.roomy)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // It will be seen with the one that is there.
	}
}
