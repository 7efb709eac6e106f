package router

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// lane handles one delivery after the other.
type lane struct {
	*session
	done chan struct{} // closed when the queue is closed and empty

	mu      sync.Mutex
	current *work // what its handler is busy with
	retired bool  // nobody waits for it any more
}

// work is one delivery in the hands of a handler.
type work struct {
	delivery *transport.Delivery
	handler  *handler
	ctx      context.Context
	cancel   context.CancelCauseFunc
}

func (l *lane) run() {
	defer func() {
		// The goroutine ends in the middle of a handler only by
		// runtime.Goexit; the lane goes on in another one.
		if w := l.busy(); w != nil {
			l.finish(w, errGoexit)
			go l.run()
			return
		}
		close(l.done)
	}()
	for d := range l.queue {
		l.handle(d)
	}
}

func (l *lane) handle(d *transport.Delivery) {
	if l.stopping.Err() != nil {
		l.release(d)
		return
	}
	base := d.Message.Context()
	eventType := typeOf(d.Message, d.Topic)
	h := l.handlers.find(eventType)
	if base.Err() != nil || h == nil {
		l.conclude(d, result{err: l.unhandled(eventType, d.Topic, h), cause: context.Cause(base)})
		return
	}
	w := &work{delivery: d, handler: h}
	w.ctx, w.cancel = context.WithCancelCause(base)
	w.ctx = transport.ContextWithDelivery(w.ctx, d, l.can)
	w.ctx = events.ContextWithHeader(w.ctx, events.HeaderOf(d.Message))
	d.Message.SetContext(w.ctx)
	if !l.begin(w) {
		w.cancel(nil)
		l.release(d)
		return
	}
	l.finish(w, w.execute())
}

// release gives back a delivery that no handler has begun.
func (l *lane) release(d *transport.Delivery) {
	l.decided()
	l.send(d.Release())
}

// unhandled is the result of a delivery that no handler gets.
func (l *lane) unhandled(eventType, topic string, h *handler) error {
	switch {
	case h != nil:
		return context.Canceled // Its context has ended while it was queued.
	case l.cfg.Unknown == AckUnknown:
		return nil
	}
	return events.Permanent(&UnknownTypeError{Type: eventType, Topic: topic})
}

// execute runs the chain and publishes what it produced.
func (w *work) execute() error {
	produced, err := w.handler.chain(w.delivery.Message)
	if err != nil {
		return err
	}
	return protect(func() error { return w.publish(produced) })
}

// finish ends the work's context and concludes it, unless Run has given it up.
func (l *lane) finish(w *work, err error) {
	cause := context.Cause(w.ctx)
	l.mu.Lock()
	l.current = nil
	retired := l.retired
	l.mu.Unlock()
	w.cancel(nil)
	if retired {
		l.counts.unsettled.Add(1)
		l.say(slog.LevelWarn, "a handler returned after Run: its delivery is not settled and will be delivered again", w.delivery, result{err: err, by: w.handler.pattern.text})
		return
	}
	l.conclude(w.delivery, result{err: err, cause: cause, by: w.handler.pattern.text})
}

// conclude decides about a delivery and sends it to the settler.
func (l *lane) conclude(d *transport.Delivery, res result) {
	var v verdict
	if err := protect(func() error { v = decide(d, l.can, res, l.delay); return nil }); err != nil {
		// To decide, errors are asked what they are, and a nil pointer that was
		// returned as an error may panic then.
		res = result{err: fmt.Errorf("router: a method of the handler's error, a %T, panics: %w", res.err, err), by: res.by}
		v = decide(d, l.can, res, l.delay)
	}
	l.report(v, d, res)
	l.decided()
	if v.drop {
		l.counts.leaseLost.Add(1)
		return
	}
	l.send(v.outcome)
}

func (l *lane) send(o transport.Outcome) {
	select {
	case l.outcomes <- o:
	case <-l.abandoned: // Closing the receiver releases it.
		l.counts.unsettled.Add(1)
	}
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
	return l.cfg.RetryDelay(attempt)
}

func (l *lane) report(v verdict, d *transport.Delivery, res result) {
	switch {
	case v.drop:
		l.say(slog.LevelWarn, "lease lost: another consumer has the delivery", d, res)
	case v.reduced:
		l.say(slog.LevelError, "no retry will mend this, but the transport has no dead letters: use a poison queue middleware", d, res, "retry_after", v.outcome.After)
	case v.outcome.Settlement == transport.DeadLetter:
		l.say(slog.LevelError, "given up: goes to the dead letters", d, res)
	case v.outcome.Settlement == transport.Retry:
		l.say(slog.LevelWarn, "attempt failed: will be retried", d, res, "retry_after", v.outcome.After)
	}
}

// say logs what became of a delivery. If the log handler panics, perhaps because
// the error it shows does, it gets the panic in place of that error.
func (l *lane) say(level slog.Level, text string, d *transport.Delivery, res result, more ...any) {
	log := func(err error) error {
		return protect(func() error {
			l.log.Log(context.Background(), level, text, append([]any{
				"handler", res.by, "type", typeOf(d.Message, d.Topic), "event", d.Message.UUID,
				"topic", d.Topic, "id", d.ID, "attempt", d.Attempt, "error", err,
			}, more...)...)
			return nil
		})
	}
	if p := log(res.err); p != nil {
		_ = log(p) // A log handler that fails again is beyond help.
	}
}

// begin records the work, unless no handler may begin any more.
func (l *lane) begin(w *work) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retired || l.stopping.Err() != nil {
		return false
	}
	l.current = w
	return true
}

func (l *lane) busy() *work {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.current
}

// cancel ends the context of the handler that is running, if one is.
func (l *lane) cancel(cause error) {
	if w := l.busy(); w != nil {
		w.cancel(cause)
	}
}

// retire gives the lane up and returns the handler it is busy with, if any.
func (l *lane) retire() *StuckHandler {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.retired = true
	if l.current == nil {
		return nil
	}
	d := l.current.delivery
	return &StuckHandler{Pattern: l.current.handler.pattern.text, Topic: d.Topic, ID: d.ID, UUID: d.Message.UUID}
}
