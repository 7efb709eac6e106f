package router

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/logistically/events/transport"
)

// line is what an ordered lane has of one key. Only its head may be handled.
type line struct {
	key     string
	head    *job
	waiting fifo
	running bool        // a handler is busy with the head
	failed  error       // of the head's last attempt; nil if it has not failed
	excess  bool        // too many wait behind the failed head
	aside   bool        // its jobs do not count against the lane's window
	timer   *time.Timer // the head is held until it fires; nil if it is not
}

// addTo puts a job into the line of its key. It returns what was given up
// because too many wait in it. The caller holds the lock.
func (l *lane) addTo(key string, j *job) (lost []loss) {
	q := l.lines[key]
	if q == nil {
		j.line = &line{key: key, head: j}
		l.lines[key] = j.line
		l.classes[j.from.class].active++
		l.enqueue(j)
		return nil
	}
	j.line = q
	q.waiting.push(j)
	if j.aside = q.aside; !j.aside {
		l.classes[j.from.class].active++
	}
	if q.failed == nil || q.waiting.size <= l.cfg.MaxWaiting || l.cfg.OnFailure == ParkKey {
		return nil
	}
	q.excess = true
	if q.timer == nil || !q.head.from.can.DeadLetter { // It is being tried again, or about to be.
		return nil
	}
	q.stopTimer(l)
	return l.giveUp(q, q.failed)
}

// concludeInLine applies a verdict about the head of a line: what would be
// retried through the transport is held here instead, so that it keeps its
// place. The caller holds the lock.
func (l *lane) concludeInLine(j *job, v verdict, res result) (lost []loss) {
	q := j.line
	q.running = false
	retry := v.outcome.Settlement == transport.Retry && !v.reduced
	final := v.outcome.Settlement == transport.DeadLetter
	switch {
	case v.drop:
		l.leave(j)
		l.dropped(j)
	case retry && j.from.can.DeadLetter && l.usedUp(q, j, v), final:
		return l.giveUp(q, res.err)
	case retry && !l.closed:
		j.delivery.Attempt += cost(v)
		q.failed = res.err
		l.hold(q, v.outcome.After)
		return nil
	case retry:
		j.delivery.Attempt += cost(v) // It has failed.
		l.leave(j)
		l.leftToClose(j)
	case l.closed && v.outcome.Settlement == transport.Release:
		l.leave(j)
		l.leftToClose(j)
	default:
		l.leave(j)
		l.settled(j, v.outcome)
	}
	l.advance(q)
	return nil
}

// usedUp reports whether a head that has failed is to be given up.
func (l *lane) usedUp(q *line, j *job, v verdict) bool {
	if l.cfg.OnFailure == ParkKey {
		return false
	}
	return q.excess || !v.snoozed && l.cfg.MaxAttempts > 0 && j.delivery.Attempt >= l.cfg.MaxAttempts
}

// cost is how many attempts a retry uses up.
func cost(v verdict) int {
	if v.snoozed {
		return 0
	}
	return 1
}

// hold keeps the head until its time comes. The caller holds the lock.
func (l *lane) hold(q *line, after time.Duration) {
	l.setLineAside(q, true)
	l.timers.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(after, func() {
		defer l.timers.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		if q.timer == timer { // or else it was stopped too late
			q.timer = nil
			l.enqueue(q.head)
		}
	})
	q.timer = timer
}

// stopTimer takes the head out of its hold. The caller holds the lock.
func (q *line) stopTimer(l *lane) {
	if q.timer != nil && q.timer.Stop() {
		l.timers.Done()
	}
	q.timer = nil
}

// giveUp makes the head of a line a dead letter and, if the policy says so,
// what waits behind it. The caller holds the lock.
func (l *lane) giveUp(q *line, cause error) (lost []loss) {
	head := q.head
	lost = append(lost, loss{head, cause})
	l.leave(head)
	l.settled(head, deadLetter(head, cause))
	for l.cfg.OnFailure == DeadLetterKey && q.waiting.size > 0 {
		j := q.waiting.pop()
		why := fmt.Errorf("%w: event %s: %w", ErrKeyGivenUp, head.delivery.Message.UUID, cause)
		lost = append(lost, loss{j, why})
		l.leave(j)
		l.settled(j, deadLetter(j, why))
	}
	l.advance(q)
	return lost
}

func deadLetter(j *job, cause error) transport.Outcome {
	o := j.delivery.DeadLetter(cause)
	if by := j.pattern(); by != "" {
		o.Metadata[transport.MetadataFailureHandler] = by
	}
	return o
}

// loss is what was given up, and why.
type loss struct {
	*job
	cause error
}

// sayLost logs what has become dead letters. The caller does not hold the lock.
func (l *lane) sayLost(lost []loss) {
	for _, j := range lost {
		j.say(l.log, slog.LevelError, "given up in an ordered lane: goes to the dead letters", j.cause, "lane", l.cfg.Name)
	}
}

// advance makes the next job of a line its head. The caller holds the lock.
func (l *lane) advance(q *line) {
	if l.closed {
		for _, j := range q.waiting.drain(nil) {
			l.leave(j)
			l.leftToClose(j)
		}
	}
	q.failed, q.excess = nil, false
	l.setLineAside(q, false)
	q.head = q.waiting.pop()
	if q.head == nil {
		delete(l.lines, q.key)
		return
	}
	l.enqueue(q.head)
}

// setLineAside says whether the jobs of a line count against the window. Its
// head may have left it already. The caller holds the lock.
func (l *lane) setLineAside(q *line, aside bool) {
	if q.aside == aside {
		return
	}
	q.aside = aside
	if q.head != nil && q.head.line == q {
		l.setAside(q.head, aside)
	}
	for i := range q.waiting.size {
		l.setAside(q.waiting.at(i), aside)
	}
}
