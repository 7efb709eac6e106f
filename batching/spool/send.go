package spool

import (
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// longestPause is how much longer than Config.RetryInterval the sender waits at most.
const longestPause = 100

// errVanished is why the sender has to begin again.
var errVanished = errors.New("spool: the publisher beneath called runtime.Goexit: its messages may have been published")

// send sends what is spooled, in order, until Close.
func (p *Publisher) send() {
	returned := false
	defer func() {
		if !returned { // The publisher beneath has ended this goroutine.
			p.tried(false, errVanished)
			go p.send()
		}
	}()
	for p.ready() {
		p.tried(p.sendWindow())
	}
	p.mu.Lock()
	p.closing = p.store.close()
	p.mu.Unlock()
	p.cancel()
	close(p.stopped)
	returned = true
}

// tried sets how long the sender waits after an attempt.
func (p *Publisher) tried(progress bool, err error) {
	p.mu.Lock()
	p.lastErr = err
	switch {
	case err == nil:
		p.pause = 0
	case progress || p.pause == 0:
		p.pause = p.cfg.RetryInterval
	default:
		p.pause = min(2*p.pause, longestPause*p.cfg.RetryInterval)
	}
	pause, left, closed := p.pause, p.store.messages, p.closed
	p.notify()
	p.mu.Unlock()
	if err != nil && !closed {
		p.cfg.Logger.Warn("spool: what is spooled could not be sent and will be tried again", "messages", left, "after", pause, "error", err)
	}
}

// ready waits until there is something to send, and as long as the sender is to
// pause. It returns false when the publisher is closed and no call is under way.
func (p *Publisher) ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	timer := time.NewTimer(p.pause)
	defer timer.Stop()
	for paused := p.pause == 0; !p.closed; {
		if p.store.messages > 0 && (paused || p.hurry) {
			p.hurry = false
			return true
		}
		p.mu.Unlock()
		select {
		case <-timer.C:
			paused = true
		case <-p.added:
		}
		p.mu.Lock()
	}
	for p.direct > 0 { // They may have something to spool yet.
		changed := p.changed
		p.mu.Unlock()
		<-changed
		p.mu.Lock()
	}
	return false
}

// sendWindow sends the next messages of the spool once. It reports whether any of
// them is done with.
func (p *Publisher) sendWindow() (progress bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.window) == 0 {
		p.window, p.end, err = p.store.window(p.cfg.MaxSize)
		p.size = len(p.window)
		if err != nil || p.size == 0 {
			return false, err
		}
	}
	window, from := p.window, 0
	var rest []record
	// Also when the publisher beneath ends this goroutine.
	defer func() { p.window = append(rest, window[from:]...) }()
	// Messages of one topic in a row go out in one call. When one fails, none of
	// the calls after it is made: they would overtake it.
	for from < len(window) && err == nil {
		to := from + 1
		for to < len(window) && window[to].topic == window[from].topic {
			to++
		}
		for i, failed := range p.sendRun(window[from:to]) {
			r := window[from+i]
			if failed != nil && p.cfg.Rejects(failed) {
				failed = p.reject(r, failed)
			}
			if failed != nil {
				err = failed
				rest = append(rest, r)
			}
		}
		from = to
	}
	if err == nil {
		err = p.store.commit(p.end, p.size)
	}
	return len(rest) < from, err
}

// reject sets a message aside.
func (p *Publisher) reject(r record, cause error) error {
	p.cfg.Logger.Error("spool: a message is rejected and set aside: see TakeRejected", "topic", r.topic, "uuid", r.msg.UUID, "error", cause)
	r.reason = cause.Error()
	return p.store.reject(r)
}

// sendRun publishes records of one topic, without the lock.
func (p *Publisher) sendRun(run []record) []error {
	msgs := make([]*message.Message, len(run))
	for i, r := range run {
		msgs[i] = r.msg.Copy()
		msgs[i].SetContext(p.ctx)
	}
	p.mu.Unlock()
	defer p.mu.Lock()
	errs, _ := events.FailedOf(call(p.next, run[0].topic, msgs), msgs)
	return errs
}
