package router

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// job is a delivery on its way from a source through a lane to its outcome.
type job struct {
	delivery *transport.Delivery
	handler  *handler        // nil: there is none for it
	base     context.Context // the delivery's own; it ends with the lease
	from     *source
	number   int64         // in the order of arrival
	arrived  time.Duration // when, after the session had begun
	keyless  error         // why its lane's OrderBy gave no key, if it failed

	// Guarded by the lock of its lane.
	line  *line // of its key; nil where there is no order
	aside bool  // does not count against the window of its lane: see limits.go

	started atomic.Bool
	// Set by the worker that handles it, before started is.
	ctx *handlerContext
	own handlerContext // of the first attempt

	produced *transport.Produced // by its handler, to be published by the ack
}

func (j *job) pattern() string {
	if j.handler == nil {
		return ""
	}
	return j.handler.pattern.text
}

func (j *job) bytes() int64 { return int64(len(j.delivery.Message.Payload)) }

// start makes the context of the handler.
func (j *job) start(l *lane) {
	d := j.delivery
	ctx := &j.own
	if j.ctx != nil { // An earlier attempt had that one, and it has ended.
		ctx = new(handlerContext)
	}
	ctx.job, ctx.uuid, ctx.metadata = j, d.Message.UUID, d.Message.Metadata
	if timeout := l.cfg.HandlerTimeout; timeout > 0 {
		ctx.limit(timeout)
	}
	j.ctx = ctx
	d.Message.SetContext(ctx)
	j.started.Store(true)
	if l.overdue.Load() { // The drain deadline has passed before anybody could see this context.
		ctx.end(events.ErrReleased)
	}
}

// end cancels the context of the handler, if it has one.
func (j *job) end(cause error) {
	if j.started.Load() {
		j.ctx.end(cause)
	}
}

// execute runs the chain and publishes what it produced.
func (j *job) execute() error {
	j.produced = nil // of an attempt before this one
	produced, err := j.handler.chain(j.delivery.Message)
	if err != nil || len(produced) == 0 {
		return err
	}
	return protect(func() error { return j.publish(produced) })
}

func (j *job) stuck() StuckHandler {
	return StuckHandler{Pattern: j.pattern(), Topic: j.delivery.Topic, ID: j.delivery.ID, UUID: j.delivery.Message.UUID}
}

// say logs what became of a delivery. If the log handler panics, perhaps because
// the error it shows does, it gets the panic in place of that error.
func (j *job) say(logger *slog.Logger, level slog.Level, text string, err error, more ...any) {
	d := j.delivery
	log := func(err error) error {
		return protect(func() error {
			logger.Log(context.Background(), level, text, append([]any{
				"handler", j.pattern(), "type", typeOf(d.Message, d.Topic), "event", d.Message.UUID,
				"topic", d.Topic, "id", d.ID, "attempt", d.Attempt, "error", err,
			}, more...)...)
			return nil
		})
	}
	if p := log(err); p != nil {
		_ = log(p) // A log handler that fails again is beyond help.
	}
}

// cause returns why the context of the job's handler has ended, or that of the
// delivery if none was begun; nil if it has not.
func (j *job) cause() error {
	if j.started.Load() {
		return j.ctx.cause()
	}
	return context.Cause(j.base)
}
