package batching

import "time"

// Messages gather in their queues until a batch is full or its first message
// has waited for MaxWait. The publisher lists the queues in which some do, the
// longest waiting first. It has one timer, which looks at the list: when it
// comes late, or for nothing, no harm is done.

// gather counts a message, the last of the queue, as one that waits for more.
func (q *queue) gather(size int) {
	if q.fresh == 0 {
		q.since = time.Now()
		q.gathering = q.p.gathering.PushBack(q)
		q.p.setTimer()
	}
	q.fresh++
	q.freshBytes += size
	if q.fresh >= q.p.cfg.MaxSize || q.freshBytes >= q.p.cfg.MaxBytes {
		q.ripen()
	}
}

// ripen makes everything in the queue due.
func (q *queue) ripen() {
	q.fresh, q.freshBytes = 0, 0
	if q.gathering != nil {
		q.p.gathering.Remove(q.gathering)
		q.gathering = nil
	}
}

// ripenAll makes everything due. The caller holds the lock.
func (p *Publisher) ripenAll() {
	for q := p.longestWaiting(); q != nil; q = p.longestWaiting() {
		q.ripen()
		q.proceed()
	}
}

func (p *Publisher) longestWaiting() *queue {
	if first := p.gathering.Front(); first != nil {
		return first.Value.(*queue)
	}
	return nil
}

// setTimer has the timer go off when the first of the list is due. One that is
// set already goes off before.
func (p *Publisher) setTimer() {
	first := p.longestWaiting()
	if first == nil || p.timerSet {
		return
	}
	p.timerSet = true
	wait := p.cfg.MaxWait - time.Since(first.since)
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, p.onTimer)
	} else {
		p.timer.Reset(wait)
	}
}

func (p *Publisher) onTimer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timerSet = false
	for q := p.longestWaiting(); q != nil && time.Since(q.since) >= p.cfg.MaxWait; q = p.longestWaiting() {
		q.ripen()
		q.proceed()
	}
	p.setTimer()
}
