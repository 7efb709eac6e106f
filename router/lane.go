package router

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// lane has workers, and a queue of what is theirs to do.
type lane struct {
	*session
	cfg     *LaneConfig
	overdue *atomic.Bool // the session's: contexts of handlers have ended
	window  int          // how much of each class is held: Concurrency and Prefetch
	used    bool         // it has handlers
	refill  int          // how much room in it is worth a call of Receive
	timers  sync.WaitGroup

	mu           sync.Mutex
	work         sync.Cond // there may be something to do
	idle         int       // workers that wait for it
	waking       bool      // one of them was woken and has not looked yet
	looking      bool      // the one that holds the lock is about to look
	workers      []*worker // those that have a slot
	stray        []*worker // stuck ones, whose slots others have
	classes      []class
	lines        map[string]*line // by key, those that have messages
	parked       []*job           // in turn, but their topic or handler is paused
	later        []*job           // in turn, but their lot is busy
	breaker      *killSwitch      // nil: none
	paused       bool
	closed       bool
	running      int
	runningBytes int64
}

// class is what a lane has of the topics of one weight.
type class struct {
	weight, credit int
	ready          fifo
	active         int // what counts against the window
}

func newLane(s *session, cfg *LaneConfig) *lane {
	l := &lane{
		session: s, cfg: cfg, overdue: &s.overdue,
		window: cfg.Concurrency + cfg.Prefetch, refill: max(1, cfg.Prefetch/2),
		classes: make([]class, len(s.sources)),
		paused:  s.pauses.has(Scope{Lane: cfg.Name}),
	}
	l.work.L = &l.mu
	for i, from := range s.sources {
		l.classes[i] = class{weight: from.weight, credit: from.weight}
	}
	if cfg.OrderBy != nil {
		l.lines = make(map[string]*line)
	}
	if cfg.KillSwitch.FailureRatio > 0 {
		l.breaker = &killSwitch{cfg: cfg.KillSwitch, lane: l, state: SwitchClosed}
	}
	for range cfg.Concurrency {
		l.workers = append(l.workers, newWorker(l))
	}
	return l
}

// add queues what has arrived, in order. What cannot be queued any more is
// given back.
func (l *lane) add(jobs []*job, keys []string) {
	var late []*job
	var lost []loss
	l.mu.Lock()
	for i, j := range jobs {
		switch {
		case l.closed:
			late = append(late, j)
		case keys == nil || keys[i] == "":
			l.classes[j.from.class].active++
			l.enqueue(j)
		default:
			lost = append(lost, l.addTo(keys[i], j)...)
		}
	}
	l.mu.Unlock()
	for _, j := range late {
		l.giveBack(j)
	}
	l.sayLost(lost)
}

// enqueue makes a job ready to be handled. The caller holds the lock.
func (l *lane) enqueue(j *job) {
	l.classes[j.from.class].ready.push(j)
	l.wake()
}

// wake makes a worker look for work. One is woken at a time, and wakes the next one if
// there is more: where handlers are quick, few workers do it all, and waking one for
// every job would cost more than the job. The caller holds the lock.
func (l *lane) wake() {
	if l.idle > 0 && !l.waking && !l.looking {
		l.waking = true
		l.work.Signal()
	}
}

// anyReady reports whether something waits for a worker. The caller holds the lock.
func (l *lane) anyReady() bool {
	for i := range l.classes {
		if l.classes[i].ready.size > 0 {
			return true
		}
	}
	return false
}

// next waits for the next job of a worker and makes it its current one. It
// returns nil when there will be none.
func (l *lane) next(w *worker) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && !w.stray {
		if j := l.begin(w); j != nil {
			return j
		}
		l.idle++
		l.work.Wait()
		l.idle--
		l.waking = false
	}
	return nil
}

// begin makes what is to be handled next, if there is anything, the current job of
// a worker. The caller holds the lock.
func (l *lane) begin(w *worker) *job {
	if l.closed || w.stray {
		return nil
	}
	j := l.take()
	if j == nil {
		return nil
	}
	w.current = j
	l.running++
	l.runningBytes += j.bytes()
	if j.line != nil {
		j.line.running = true
	}
	if l.idle > 0 && !l.waking && l.anyReady() {
		l.wake()
	}
	return j
}

// take returns what is to be handled next, or nil. The caller holds the lock.
func (l *lane) take() *job {
	for !l.paused && !l.pauses.all.Load() && (l.breaker == nil || l.breaker.allows()) {
		c := l.turn()
		if c == nil {
			return nil
		}
		if most := l.cfg.MaxRunningBytes; most > 0 && l.running > 0 && l.runningBytes+c.ready.at(0).bytes() > most {
			return nil
		}
		j := c.ready.pop()
		if l.pauses.covers(j) {
			l.park(j)
			continue
		}
		if l.postpone(j) {
			continue
		}
		c.credit--
		if l.breaker != nil {
			l.breaker.begin(j)
		}
		return j
	}
	return nil
}

// turn returns the class whose turn it is: the heaviest that has something
// ready and credit left. The caller holds the lock.
func (l *lane) turn() *class {
	for range 2 {
		waiting := false
		for i := range l.classes {
			c := &l.classes[i]
			if c.ready.size > 0 && c.credit > 0 {
				return c
			}
			waiting = waiting || c.ready.size > 0
		}
		if !waiting {
			return nil
		}
		for i := range l.classes {
			l.classes[i].credit = l.classes[i].weight
		}
	}
	return nil
}

// done ends the work of a worker on a job by a verdict. Where there is nothing to say
// about it, it begins the next one at once and returns it: handlers may be so quick that
// to take the lock once more would be much of what they cost.
func (l *lane) done(w *worker, j *job, v verdict, res result) (next *job) {
	var is judgement
	if l.breaker != nil {
		is = l.breaker.judge(res)
	}
	l.mu.Lock()
	if w.given == j { // It was settled when the handler was found stuck.
		w.given = nil
		l.mu.Unlock()
		j.say(l.log, slog.LevelWarn, "a stuck handler has returned: its delivery was retried meanwhile", res.err)
		return nil
	}
	w.current = nil
	j.started.Store(false)
	if j.handler != nil {
		j.handler.counts.add(res)
	}
	if !w.stray {
		l.running--
		l.runningBytes -= j.bytes()
		if l.cfg.MaxRunningBytes > 0 && l.idle > 0 {
			l.work.Broadcast() // There may be room for several.
		}
	}
	var lost []loss
	keep := false
	var was, now SwitchState
	switch {
	case w.retired:
		l.mu.Unlock()
		l.let(j)
		l.counts.unsettled.Add(1)
		j.say(l.log, slog.LevelWarn, "a handler returned after Run: its delivery is not settled and will be delivered again", res.err)
		return nil
	case l.breaker != nil && j.handler != nil && !w.stray:
		was = l.breaker.state
		keep = l.breaker.observe(j, res, is)
		if now = l.breaker.state; now != was {
			l.resumed()
		}
	}
	silent := was == now && !keep && !v.drop && v.outcome.Settlement == transport.Ack
	l.looking = silent
	switch {
	case keep && !l.closed:
		if j.line != nil {
			j.line.running = false
		}
		l.enqueue(j)
	case keep:
		v = verdict{outcome: j.delivery.Release()}
		fallthrough
	default:
		lost = l.conclude(j, v, res)
	}
	l.looking = false
	if silent {
		if next = l.begin(w); next == nil && l.anyReady() { // Perhaps there is work for others.
			l.wake()
		}
		l.mu.Unlock()
		return next
	}
	l.mu.Unlock()
	if was != now {
		l.breaker.say(was, now, res.err)
	}
	switch {
	case keep:
		j.say(l.log, slog.LevelWarn, "the kill switch is open: the delivery waits and its attempt does not count", res.err, "lane", l.cfg.Name)
	case len(lost) == 0:
		l.report(v, j, res)
	}
	l.sayLost(lost)
	return nil
}

// conclude applies a verdict. It returns what was given up because of it. The
// caller holds the lock.
func (l *lane) conclude(j *job, v verdict, res result) (lost []loss) {
	if j.line != nil {
		return l.concludeInLine(j, v, res)
	}
	l.leave(j)
	if v.snoozed {
		j.delivery.Attempt-- // The transport counts each retry.
	}
	if v.drop {
		l.dropped(j)
	} else {
		l.settled(j, v.outcome)
	}
	return nil
}

// report logs what became of a delivery that was not acked.
func (l *lane) report(v verdict, j *job, res result) {
	switch {
	case v.drop:
		j.say(l.log, slog.LevelWarn, "lease lost: another consumer has the delivery", res.err)
	case v.reduced:
		j.say(l.log, slog.LevelError, "no retry will mend this, but the transport has no dead letters: use a poison queue middleware", res.err, "retry_after", v.outcome.After)
	case v.outcome.Settlement == transport.DeadLetter:
		j.say(l.log, slog.LevelError, "given up: goes to the dead letters", res.err)
	case v.snoozed:
		j.say(l.log, slog.LevelDebug, "put off: the attempt does not count", res.err, "retry_after", v.outcome.After)
	case v.outcome.Settlement == transport.Retry:
		j.say(l.log, slog.LevelWarn, "attempt failed: will be retried", res.err, "retry_after", v.outcome.After)
	}
}

// unhandled is the result of a delivery that no handler gets.
func (l *lane) unhandled(j *job) result {
	cause := result{cause: j.cause()}
	eventType := typeOf(j.delivery.Message, j.delivery.Topic)
	switch {
	case j.base.Err() != nil:
		cause.err = j.base.Err() // It has ended while the delivery was queued.
	case l.Router.cfg.Unknown == AckUnknown:
	default:
		cause.err = events.Permanent(&UnknownTypeError{Type: eventType, Topic: j.delivery.Topic})
	}
	return cause
}

// delay guards against a panic of the configured function: it runs outside
// the handler's protection.
func (l *lane) delay(attempt int) (after time.Duration) {
	defer func() {
		if v := recover(); v != nil {
			l.log.Error("Config.RetryDelay panicked: DefaultRetryDelay is used", "panic", v, "attempt", attempt)
			after = DefaultRetryDelay(attempt)
		}
	}()
	return l.Router.cfg.RetryDelay(attempt)
}

// close ends the lane's work and returns what no worker has begun and has no
// order. What waits for its key behind a running handler is dealt with when
// that returns.
func (l *lane) close() (rest []*job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.work.Broadcast()
	if l.breaker != nil {
		l.breaker.stop()
	}
	for i := range l.classes {
		rest = l.classes[i].ready.drain(rest)
	}
	rest = append(rest, l.parked...)
	rest = append(rest, l.later...)
	l.parked, l.later = nil, nil
	rest = slices.DeleteFunc(rest, func(j *job) bool { return j.line != nil })
	for _, j := range rest {
		l.leave(j)
	}
	for key, q := range l.lines {
		if !q.running {
			q.stopTimer(l)
			for _, j := range q.waiting.drain([]*job{q.head}) {
				l.leave(j)
				l.leftToClose(j)
			}
			delete(l.lines, key)
		}
	}
	return rest
}
