package router

import (
	"errors"
	"fmt"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// Defaults of [KillSwitchConfig].
const (
	DefaultKillSwitchWindow   = time.Minute
	DefaultKillSwitchMinCalls = 20
	DefaultKillSwitchProbe    = 30 * time.Second
)

// KillSwitchConfig makes a lane pause when too many of its handlers fail, as
// they do when something that they all need is away: better to leave the
// messages where they are than to use up the attempts of each.
//
// The switch is closed at first. It opens when the ratio of failures over Window
// has reached FailureRatio, or at an error that OpenOn selects. While it is
// open, the lane begins no handler, and a router whose lanes are all open or
// paused receives nothing. Handlers that were running and fail keep their
// deliveries in the lane, at no cost of an attempt; none becomes a dead letter.
// After Probe the switch is half-open: one delivery is tried. If that succeeds
// the switch closes; if not, the delivery goes to the end of the lane, and
// another one is tried after Probe.
//
// Failures before the switch opens are settled as ever: with a poison queue
// middleware that makes dead letters at once, up to MinCalls of them. OpenOn
// avoids that where the error says that it is not the message's fault.
type KillSwitchConfig struct {
	// FailureRatio, over 0 and at most 1, opens the switch. Zero means no switch.
	FailureRatio float64
	// Window is how long a result counts. Zero means DefaultKillSwitchWindow, 1 min.
	Window time.Duration
	// MinCalls is how many results there must be in Window before their ratio
	// counts. Zero means DefaultKillSwitchMinCalls, 20.
	MinCalls int
	// Probe is how long to wait before a delivery is tried. Zero means
	// DefaultKillSwitchProbe, 30 s.
	Probe time.Duration
	// IsFailure says whether an error is one to count; what it does not select
	// is settled as ever, open or not. It must be safe for concurrent use. Nil
	// means every error but events.Discard, events.Snooze, and bodies that do not
	// decode or are not valid: these say nothing of the handler.
	IsFailure func(err error) bool
	// OpenOn says of an error that it is a failure and opens the switch at once, such
	// as that of a circuit breaker: errors.Is(err, middleware.ErrCircuitOpen). It must
	// be safe for concurrent use. Nil means none.
	OpenOn func(err error) bool
}

func (c *KillSwitchConfig) check(field string) error {
	switch {
	case !(c.FailureRatio >= 0 && c.FailureRatio <= 1): // NaN is neither.
		return configError(field+"FailureRatio", c.FailureRatio, "is no ratio", "set it to more than 0 and at most 1, or to 0 for no kill switch")
	case c.FailureRatio == 0 && (c.Window != 0 || c.MinCalls != 0 || c.Probe != 0 || c.IsFailure != nil || c.OpenOn != nil):
		return configError(field+"FailureRatio", c.FailureRatio, "is zero though other fields of the kill switch are set", "set it to more than 0 and at most 1")
	case c.Window < 0:
		return configError(field+"Window", c.Window, "is negative", "set it to a duration, or to 0 for 1 min")
	case c.MinCalls < 0:
		return configError(field+"MinCalls", c.MinCalls, "is negative", "set it to a number of results, or to 0 for 20")
	case c.Probe < 0:
		return configError(field+"Probe", c.Probe, "is negative", "set it to a duration, or to 0 for 30 s")
	}
	return nil
}

func (c *KillSwitchConfig) setDefaults() {
	if c.FailureRatio == 0 {
		return
	}
	if c.Window == 0 {
		c.Window = DefaultKillSwitchWindow
	}
	if c.MinCalls == 0 {
		c.MinCalls = DefaultKillSwitchMinCalls
	}
	if c.Probe == 0 {
		c.Probe = DefaultKillSwitchProbe
	}
}

// SwitchState is the state of a lane's kill switch.
type SwitchState string

// States of a kill switch. A lane without one has the state "".
const (
	SwitchClosed   SwitchState = "closed"    // all is well
	SwitchOpen     SwitchState = "open"      // the lane begins no handler
	SwitchHalfOpen SwitchState = "half-open" // one delivery is tried
)

// killSwitch is guarded by the lock of its lane, all but cfg.
type killSwitch struct {
	cfg   KillSwitchConfig
	lane  *lane
	state SwitchState
	probe *job        // that is being tried
	timer *time.Timer // until the next try

	slots [10]struct{ calls, failures int } // the window, a tenth of it each
	slot  int
	since time.Time // when slot began
}

// judgement is what the configured functions say of a result.
type judgement struct{ failure, opens bool }

// judge asks the configured functions. It is called without the lock.
func (k *killSwitch) judge(res result) (is judgement) {
	if res.err == nil || errors.Is(res.cause, events.ErrReleased) || errors.Is(res.cause, transport.ErrLeaseLost) {
		return is
	}
	err := protect(func() error {
		is.opens = k.cfg.OpenOn != nil && k.cfg.OpenOn(res.err)
		is.failure = is.opens || k.cfg.IsFailure == nil && isFailure(res.err) || k.cfg.IsFailure != nil && k.cfg.IsFailure(res.err)
		return nil
	})
	if err != nil {
		k.lane.log.Error("KillSwitchConfig.IsFailure or OpenOn panicked: the error counts as a failure", "lane", k.lane.cfg.Name, "error", err)
		is = judgement{failure: true}
	}
	return is
}

func isFailure(err error) bool {
	_, undecoded := errors.AsType[*decodeError](err)
	_, invalid := errors.AsType[*events.ValidationError](err)
	return !undecoded && !invalid && !events.IsDiscard(err) && !events.IsSnooze(err)
}

func (k *killSwitch) allows() bool {
	return k.state == SwitchClosed || k.state == SwitchHalfOpen && k.probe == nil
}

func (k *killSwitch) begin(j *job) {
	if k.state == SwitchHalfOpen {
		k.probe = j
	}
}

// observe takes note of how the handling of a job ended, and reports whether
// the lane is to keep it.
func (k *killSwitch) observe(j *job, res result, is judgement) (keep bool) {
	tried := k.probe == j
	if tried {
		k.probe = nil
	}
	switch {
	case k.state == SwitchClosed:
		if k.count(is.failure) || is.opens {
			k.open()
		}
	case k.state == SwitchHalfOpen && tried && is.failure:
		k.open()
	case k.state == SwitchHalfOpen && tried && res.cause == nil:
		k.close()
	}
	return is.failure && k.state != SwitchClosed
}

// count adds a result to the window and reports whether the ratio is reached.
func (k *killSwitch) count(failure bool) bool {
	now := time.Now()
	tenth := max(k.cfg.Window/time.Duration(len(k.slots)), 1)
	for passed := 0; now.Sub(k.since) >= tenth; passed++ {
		if passed == len(k.slots) {
			k.since = now
			break
		}
		k.slot = (k.slot + 1) % len(k.slots)
		k.slots[k.slot].calls, k.slots[k.slot].failures = 0, 0
		k.since = k.since.Add(tenth)
	}
	k.slots[k.slot].calls++
	if failure {
		k.slots[k.slot].failures++
	}
	calls, failures := 0, 0
	for _, s := range k.slots {
		calls, failures = calls+s.calls, failures+s.failures
	}
	return failure && calls >= k.cfg.MinCalls && float64(failures) >= k.cfg.FailureRatio*float64(calls)
}

func (k *killSwitch) open() {
	k.state = SwitchOpen
	l := k.lane
	if l.closed {
		return
	}
	l.timers.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(k.cfg.Probe, func() {
		defer l.timers.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.timer == timer { // or else it was stopped too late
			k.timer = nil
			k.state = SwitchHalfOpen
			l.resumed()
		}
	})
	k.timer = timer
}

func (k *killSwitch) close() {
	k.stop()
	k.state, k.probe = SwitchClosed, nil
	clear(k.slots[:])
}

// stop ends the wait for the next try.
func (k *killSwitch) stop() {
	if k.timer != nil && k.timer.Stop() {
		k.lane.timers.Done()
	}
	k.timer = nil
}

// say logs a change of state. It is called without the lock.
func (k *killSwitch) say(was, is SwitchState, err error) {
	switch {
	case was == is:
	case is == SwitchOpen:
		text := "the kill switch opens: the lane is paused"
		if was == SwitchHalfOpen {
			text = "the kill switch stays open: the try has failed"
		}
		k.lane.log.Error(text, "lane", k.lane.cfg.Name, "next_try", k.cfg.Probe, "error", describe(err))
	case is == SwitchClosed:
		k.lane.log.Info("the kill switch closes: the lane goes on", "lane", k.lane.cfg.Name)
	}
}

// describe is the text of an error whose methods may panic.
func describe(err error) string { return fmt.Sprint(err) }
