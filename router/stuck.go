package router

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

// maxStack is how much of the stack of a stuck handler is logged.
const maxStack = 8 << 10

// watch looks for handlers that go on though their contexts have ended, until
// ctx ends: what is stuck at the drain deadline is drain's. While nothing is
// held it sleeps: an idle router wakes nobody, and virtual time jumps far.
func (s *session) watch(ctx context.Context) {
	for {
		select {
		case <-s.arrived:
			s.watchBusy(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// watchBusy is watch until nothing is held.
func (s *session) watchBusy(ctx context.Context) {
	ticker := time.NewTicker(max(s.cfg.StuckGrace/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			idle := s.held.Load() == 0 // Before looking, which then forgets what it has seen of workers.
			for _, l := range s.lanes {
				l.look(now)
			}
			if idle {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// look frees the slots of workers whose handlers are stuck.
func (l *lane) look(now time.Time) {
	l.mu.Lock()
	var stuck []*worker
	for _, w := range l.workers {
		j := w.current
		switch {
		case j == nil || !j.started.Load() || j.ctx.Err() == nil:
			w.ended = time.Time{}
		case w.ended.IsZero():
			w.ended = now
		case now.Sub(w.ended) >= l.Router.cfg.StuckGrace:
			stuck = append(stuck, w)
		}
	}
	l.mu.Unlock()
	for _, w := range stuck {
		l.free(w)
	}
}

// free gives the slot of a stuck worker to a new one. Its delivery is retried;
// but in an ordered lane the key waits until the handler returns, as
// the next handler of the key must not run beside it.
func (l *lane) free(w *worker) {
	l.mu.Lock()
	j := w.current
	if l.closed || w.stray || j == nil || w.ended.IsZero() {
		l.mu.Unlock()
		return
	}
	res := result{err: fmt.Errorf("%w: context ended: %w", ErrStuck, j.ctx.cause()), by: j.pattern()}
	name := w.name
	full := len(l.stray) >= l.cfg.Concurrency
	if full {
		w.ended = time.Time{} // Look again later, and do not log it every time.
		l.mu.Unlock()
		l.log.Error("too many handlers are stuck: the slot of another one is not freed", "lane", l.cfg.Name, "stuck", l.cfg.Concurrency, "handler", j.pattern())
		return
	}
	w.stray = true
	l.running--
	l.runningBytes -= j.bytes()
	heir := newWorker(l)
	for i := range l.workers {
		if l.workers[i] == w {
			l.workers[i] = heir
		}
	}
	l.stray = append(l.stray, w)
	go heir.run()
	if l.breaker != nil {
		l.breaker.observe(j, res, judgement{failure: true})
		l.resumed()
	}
	retry := j.line == nil
	lost := context.Cause(j.base) != nil
	if retry {
		w.given = w.current
		w.current = nil
		l.leave(j)
	} else {
		l.setLineAside(j.line, true)
	}
	l.mu.Unlock()

	if lot, _ := j.delivery.Lot(); lot != nil {
		lot.Unblock()
	}
	j.handler.counts.stuck.Add(1)
	v := verdict{drop: lost}
	if retry {
		j.handler.counts.add(res)
		if lost {
			l.dropped(j)
		} else {
			v.outcome = j.delivery.Retry(l.delay(j.delivery.Attempt), res.err)
			l.settled(j, v.outcome)
		}
	}
	j.say(l.log, slog.LevelError, "handler is stuck: its context has ended and it has not returned; its slot is freed", res.err,
		"lane", l.cfg.Name, "retried", retry && !lost, "stack", stackOf(name))
}

// stackOf returns the stack of the goroutine of a name, as register notes it.
func stackOf(name []byte) string {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	for n == len(buf) && n < 64<<20 {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	for stack := range bytes.SplitSeq(buf[:n], []byte("\n\n")) {
		if bytes.HasPrefix(stack, name) {
			return string(stack[:min(len(stack), maxStack)])
		}
	}
	return "not found"
}

// strays returns the workers that are stuck without a slot.
func (l *lane) strays() []*worker {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stray[:len(l.stray):len(l.stray)]
}

// end cancels the context of the handler that is running, if one is.
func (w *worker) end(cause error) {
	w.lane.mu.Lock()
	defer w.lane.mu.Unlock()
	if w.current != nil {
		w.current.end(cause)
	}
}

// retire gives the worker up and returns the handler it is busy with, if any.
func (w *worker) retire() *StuckHandler {
	w.lane.mu.Lock()
	defer w.lane.mu.Unlock()
	w.retired = true
	j := w.current
	if j == nil {
		j = w.given
	} else if j.line != nil {
		for _, next := range j.line.waiting.drain(nil) {
			w.lane.leftToClose(next)
		}
	}
	if j == nil {
		return nil
	}
	h := j.stuck()
	return &h
}

// astray removes a stuck worker whose handler has returned at last.
func (w *worker) astray() {
	l := w.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.stray {
		if other == w {
			l.stray = append(l.stray[:i:i], l.stray[i+1:]...)
		}
	}
}
