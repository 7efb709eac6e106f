package router

import (
	"bytes"
	"fmt"
	"runtime"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// worker handles one job of its lane after the other.
type worker struct {
	lane *lane
	done chan struct{} // closed when its goroutine has ended

	// Guarded by the lock of the lane.
	current *job      // what its handler is busy with
	ended   time.Time // when the context of its handler was first seen to have ended
	stray   bool      // its handler is stuck, and another worker has its slot
	given   *job      // what its stuck handler is busy with, if that is settled already
	retired bool      // nobody waits for it any more
	name    []byte    // of its goroutine, as runtime.Stack calls it
}

func newWorker(l *lane) *worker { return &worker{lane: l, done: make(chan struct{})} }

func (w *worker) run() {
	defer func() {
		// The goroutine ends in the middle of a handler only by
		// runtime.Goexit; the worker goes on in another one.
		if j := w.busy(); j != nil {
			w.finish(j, result{err: errGoexit, by: j.pattern()})
			go w.run()
			return
		}
		w.astray()
		close(w.done)
	}()
	w.register()
	var next *job
	for {
		if next == nil {
			next = w.lane.next(w)
		}
		if next == nil {
			return
		}
		next = w.handle(next)
	}
}

// register notes the goroutine that the worker has.
func (w *worker) register() {
	var buf [64]byte
	name, _, _ := bytes.Cut(buf[:runtime.Stack(buf[:], false)], []byte("["))
	w.lane.mu.Lock()
	defer w.lane.mu.Unlock()
	w.name = bytes.Clone(name) // "goroutine 123 "
}

// handle handles a job. It returns the next one, as [lane.done] does.
func (w *worker) handle(j *job) (next *job) {
	if j.keyless != nil {
		return w.finish(j, result{err: j.keyless, cause: j.cause(), by: j.pattern()})
	}
	if j.base.Err() != nil || j.handler == nil {
		return w.finish(j, w.lane.unhandled(j))
	}
	j.start(w.lane)
	err := j.execute()
	return w.finish(j, result{err: err, by: j.handler.pattern.text})
}

// finish ends the context of a job's handler and decides about the delivery. It
// returns the next job, as [lane.done] does.
func (w *worker) finish(j *job, res result) (next *job) {
	l := w.lane
	if j.started.Load() {
		res.cause = j.cause()
		if res.cause == nil && l.overdue.Load() { // Others of its batch have seen the drain deadline, it has not yet.
			res.cause = events.ErrReleased
		}
		j.ctx.end(nil)
	}
	v := l.decide(j, &res)
	if res.err == nil && v.outcome.Settlement == transport.Ack {
		v.outcome.Produced = j.produced
	}
	return l.done(w, j, v, res)
}

// decide asks the errors of a result what they are.
func (l *lane) decide(j *job, res *result) (v verdict) {
	if res.err == nil && res.cause == nil { // as most often
		return verdict{outcome: j.delivery.Ack()}
	}
	if err := protect(func() error { v = decide(j.delivery, j.from.can, *res, l.delay); return nil }); err != nil {
		// A nil pointer that was returned as an error may panic then.
		res.err = fmt.Errorf("router: a method of the handler's error, a %T, panics: %w", res.err, err)
		v = decide(j.delivery, j.from.can, *res, l.delay)
	}
	if j.line != nil && l.cfg.OnFailure == ParkKey && (v.reduced || v.outcome.Settlement == transport.DeadLetter) {
		return verdict{outcome: j.delivery.Retry(l.delay(j.delivery.Attempt), res.err)}
	}
	return v
}

func (w *worker) busy() *job {
	w.lane.mu.Lock()
	defer w.lane.mu.Unlock()
	if w.current == nil {
		return w.given
	}
	return w.current
}
