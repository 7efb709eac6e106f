package router

import (
	"maps"
	"slices"
	"sync/atomic"
)

// Scope says what [Router.Pause] pauses. At most one field is set; the zero
// value is the whole router.
type Scope struct {
	Lane    string // by LaneConfig.Name
	Topic   string // one of Config.Topics
	Pattern string // of one handler, as registered; "(fallback)" for the fallback
}

// Pause makes no further handler of the scope begin, until [Router.Resume].
// Handlers that run go on. What is held and not begun stays held, with its lease
// kept alive, and costs no attempt; nothing becomes a dead letter.
//
// A paused router, and a router whose topics or lanes are all paused, receives
// nothing more. Otherwise what arrives for a paused scope is set aside, up to
// [Config.MaxInFlight]; from then on the router receives nothing at all, so a
// long pause is better one of the router. Pause may be called before Run, and
// twice. It is a *events.ConfigError if the router has no such lane, topic or pattern.
func (r *Router) Pause(scope Scope) error { return r.setPaused("Pause", scope, true) }

// Resume ends what [Router.Pause] has begun for the same scope, and closes the
// kill switch of a lane, or of all lanes for the zero Scope, if it is open.
func (r *Router) Resume(scope Scope) error { return r.setPaused("Resume", scope, false) }

func (r *Router) setPaused(name string, scope Scope, paused bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.checkScope(name, scope); err != nil {
		return err
	}
	r.pauses.set(scope, paused)
	if s := r.session; s != nil {
		for _, l := range s.lanes {
			l.pausesChanged(!paused && (scope == Scope{} || scope == Scope{Lane: l.cfg.Name}))
		}
		s.rouse()
	}
	return nil
}

// checkScope needs r.mu.
func (r *Router) checkScope(name string, scope Scope) error {
	known := false
	switch scope {
	case Scope{}:
		known = true
	case Scope{Lane: scope.Lane}:
		known = slices.ContainsFunc(r.lanes, func(l *LaneConfig) bool { return l.Name == scope.Lane })
	case Scope{Topic: scope.Topic}:
		known = slices.Contains(r.cfg.Topics, scope.Topic)
	case Scope{Pattern: scope.Pattern}:
		known = slices.ContainsFunc(r.all, func(h *handler) bool { return h.pattern.text == scope.Pattern })
	default:
		return configError(name+" scope", scope, "has more than one field set", "call it once for each")
	}
	if !known {
		return configError(name+" scope", scope, "is no lane, topic or pattern of this router", "use a name as it was configured or registered")
	}
	return nil
}

// pauses is what is paused. The set is replaced, never changed.
type pauses struct {
	all     atomic.Bool
	current atomic.Pointer[map[Scope]bool]
}

func (p *pauses) scopes() map[Scope]bool {
	if m := p.current.Load(); m != nil {
		return *m
	}
	return nil
}

// set needs the router's lock.
func (p *pauses) set(scope Scope, paused bool) {
	if scope == (Scope{}) {
		p.all.Store(paused)
		return
	}
	m := maps.Clone(p.scopes())
	switch {
	case paused && m == nil:
		m = map[Scope]bool{scope: true}
	case paused:
		m[scope] = true
	default:
		delete(m, scope)
	}
	p.current.Store(&m)
}

func (p *pauses) has(scope Scope) bool { return p.scopes()[scope] }

// covers reports whether the topic or the handler of a job is paused.
func (p *pauses) covers(j *job) bool {
	m := p.scopes()
	return len(m) > 0 && (m[Scope{Topic: j.delivery.Topic}] || j.handler != nil && m[Scope{Pattern: j.pattern()}])
}

// allOf reports whether each of the topics is paused.
func (p *pauses) allOf(topics []string) bool {
	m := p.scopes()
	return len(m) > 0 && !slices.ContainsFunc(topics, func(t string) bool { return !m[Scope{Topic: t}] })
}

// park sets a job aside whose turn has come while it is paused. The caller holds the lock.
func (l *lane) park(j *job) {
	if j.line != nil {
		l.setLineAside(j.line, true)
	} else {
		l.setAside(j, true)
	}
	l.parked = append(l.parked, j)
}

// pausesChanged applies the router's pauses to the lane.
func (l *lane) pausesChanged(closeSwitch bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = l.pauses.has(Scope{Lane: l.cfg.Name})
	if closeSwitch && l.breaker != nil {
		l.breaker.close()
	}
	var still []*job
	for _, j := range l.parked {
		switch {
		case l.pauses.covers(j):
			still = append(still, j)
			continue
		case j.line != nil:
			l.setLineAside(j.line, j.line.failed != nil)
		default:
			l.setAside(j, false)
		}
		l.enqueue(j)
	}
	l.parked = still
	l.work.Broadcast()
}

// resumed wakes what has waited for the kill switch. The caller holds the lock.
func (l *lane) resumed() {
	if l.idle > 0 {
		l.work.Broadcast()
	}
	l.rouse()
}
