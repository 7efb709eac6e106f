package router

import (
	"fmt"
	"sync/atomic"
	"time"
)

// State is where a router is in its life.
type State string

// States of a [Router].
const (
	StateNew      State = "new"      // Run has not been called, or is starting
	StateRunning  State = "running"  // it receives, unless it is paused
	StateDraining State = "draining" // handlers finish
	StateStopped  State = "stopped"  // Run has returned
)

// Status is what a router is doing at a moment.
type Status struct {
	State State `json:"state"`
	// Stats counts deliveries since the router was made.
	Stats Stats `json:"stats"`
	// Held is how many deliveries are here undecided, HeldBytes their payload.
	Held      int64 `json:"held"`
	HeldBytes int64 `json:"held_bytes"`
	// Oldest is since when the oldest delivery that a handler runs for is here; zero
	// if none runs.
	Oldest   time.Time       `json:"oldest"`
	Paused   bool            `json:"paused"` // the whole router
	Pauses   []Scope         `json:"pauses"` // of lanes, topics and handlers; in no order
	Lanes    []LaneStatus    `json:"lanes"`  // the first one is of the handlers in no lane of their own
	Handlers []HandlerStatus `json:"handlers"`
}

// LaneStatus is what a lane is doing.
type LaneStatus struct {
	Name        string         `json:"name"` // "" for that of the handlers in no lane of their own
	Concurrency int            `json:"concurrency"`
	Running     int            `json:"running"` // handlers
	Ready       int            `json:"ready"`   // to be handled next
	Waiting     int            `json:"waiting"` // for an earlier message of their key
	Delayed     int            `json:"delayed"` // failed, at the head of their key, until they are tried again
	Parked      int            `json:"parked"`  // their topic or handler is paused
	Paused      bool           `json:"paused"`
	KillSwitch  SwitchState    `json:"kill_switch,omitempty"` // "" if it has none
	Oldest      time.Time      `json:"oldest"`                // as in Status
	Stuck       []StuckHandler `json:"stuck,omitempty"`       // handlers without a slot that have not returned
}

// HandlerStatus is what a handler has done.
type HandlerStatus struct {
	Pattern string `json:"pattern"`
	Lane    string `json:"lane"`
	Paused  bool   `json:"paused"`
	// Handled counts calls that have returned nil, Failed those that have returned
	// an error, and Stuck those that were found stuck.
	Handled int64 `json:"handled"`
	Failed  int64 `json:"failed"`
	Stuck   int64 `json:"stuck"`
	// LastError is the text of the last error, and LastErrorAt its time.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at"`
}

// handlerCounters counts the calls of a handler.
type handlerCounters struct {
	handled, failed, stuck atomic.Int64
	last                   atomic.Pointer[lastFailure]
}

type lastFailure struct {
	err error
	at  time.Time
}

func (c *handlerCounters) add(res result) {
	if res.err == nil {
		c.handled.Add(1)
		return
	}
	c.failed.Add(1)
	c.last.Store(&lastFailure{res.err, time.Now()})
}

// Status returns what the router is doing. It looks at all that waits for keys,
// so it is for people and health checks, not for every message.
func (r *Router) Status() Status {
	s := Status{Stats: r.Stats()}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.State, s.Paused = r.state, r.pauses.all.Load()
	for scope := range r.pauses.scopes() {
		s.Pauses = append(s.Pauses, scope)
	}
	for i, cfg := range r.lanes {
		ls := LaneStatus{Name: cfg.Name, Concurrency: cfg.Concurrency, Paused: r.pauses.has(Scope{Lane: cfg.Name})}
		if r.session != nil {
			r.session.lanes[i].describe(&ls)
		}
		if s.Oldest.IsZero() || !ls.Oldest.IsZero() && ls.Oldest.Before(s.Oldest) {
			s.Oldest = ls.Oldest
		}
		s.Lanes = append(s.Lanes, ls)
	}
	if r.session != nil {
		s.Held, s.HeldBytes = r.session.held.Load(), r.session.heldBytes.Load()
	}
	for _, h := range r.all {
		s.Handlers = append(s.Handlers, h.status(r.pauses.has(Scope{Pattern: h.pattern.text})))
	}
	return s
}

func (h *handler) status(paused bool) HandlerStatus {
	s := HandlerStatus{
		Pattern: h.pattern.text, Lane: h.group.lane.Name, Paused: paused,
		Handled: h.counts.handled.Load(), Failed: h.counts.failed.Load(), Stuck: h.counts.stuck.Load(),
	}
	if last := h.counts.last.Load(); last != nil {
		s.LastError, s.LastErrorAt = fmt.Sprint(last.err), last.at
	}
	return s
}

// describe adds what is known of the running lane.
func (l *lane) describe(s *LaneStatus) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Running, s.Parked, s.Ready = l.running, len(l.parked), len(l.later)
	for i := range l.classes {
		s.Ready += l.classes[i].ready.size
	}
	for _, q := range l.lines {
		s.Waiting += q.waiting.size
		if q.timer != nil {
			s.Delayed++
		}
	}
	if l.breaker != nil {
		s.KillSwitch = l.breaker.state
	}
	for _, workers := range [][]*worker{l.workers, l.stray} {
		for _, w := range workers {
			if j := w.current; j != nil && (s.Oldest.IsZero() || l.opened.Add(j.arrived).Before(s.Oldest)) {
				s.Oldest = l.opened.Add(j.arrived)
			}
		}
	}
	for _, w := range l.stray {
		j := w.current
		if j == nil {
			j = w.given
		}
		if j != nil {
			s.Stuck = append(s.Stuck, j.stuck())
		}
	}
}

func (r *Router) setState(state State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = state
}

// begin makes the session the one that Pause and Status are about.
func (s *session) begin() {
	r := s.Router
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.session = StateRunning, s
	for _, l := range s.lanes { // It may have been paused in between.
		l.pausesChanged(false)
	}
	close(r.running)
}
