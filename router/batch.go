package router

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// Defaults of [BatchConfig].
const (
	DefaultBatchSize = 100
	DefaultBatchWait = 100 * time.Millisecond
)

// BatchConfig configures [HandleBatch].
type BatchConfig struct {
	// MaxSize is how many events a call gets at most. Zero means
	// DefaultBatchSize, 100.
	MaxSize int
	// MaxWait is how long the first event of a batch waits for more. Zero means
	// DefaultBatchWait, 100 ms.
	MaxWait time.Duration
	// Concurrency is how many calls may run at a time. Zero means 1. It is
	// ignored in a lane, whose Concurrency counts.
	Concurrency int
}

// HandleBatch registers fn for events that match pattern, which it gets several
// at a time. It returns one error for each event, in their order, which decides
// about that event's delivery as in [Handle]; nil for all of them if the slice
// is nil. A slice of another length fails them all.
//
// Each event goes through the middleware by itself, and into a batch at the
// innermost. So one that does not decode, or that a middleware refuses, is in no
// batch and keeps none from being handled. If fn panics its events are tried
// one by one, in calls with a single event, and only those that panic again
// fail.
//
// The context of a call ends when the drain deadline has passed or a handler
// timeout, or when all events' leases are lost; that of one event is no reason.
//
// An event that waits for its batch occupies a place of its lane. On a Router,
// or a Group in no lane, the handler gets a lane of its own, called "batch" and
// the pattern, with MaxSize x Concurrency places; in a lane of Router.Lane, that
// must have at least MaxSize. In an ordered lane a batch has one event of a key.
//
// Errors are those of Registrar.
func HandleBatch[T any](reg Registrar, pattern string, cfg BatchConfig, fn func(ctx context.Context, evs []events.Event[T]) []error, mw ...message.HandlerMiddleware) error {
	g, err := reg.group().forBatch(pattern, &cfg)
	if err != nil {
		return err
	}
	if fn == nil {
		return g.HandleMessage(pattern, nil, mw...)
	}
	b := &batcher[T]{cfg: cfg, fn: fn}
	codec := g.router.cfg.Codec
	err = g.HandleMessage(pattern, func(msg *message.Message) error {
		ev, err := events.Decode[T](msg, codec)
		if err != nil {
			return &decodeError{err}
		}
		return b.handle(msg.Context(), ev)
	}, mw...)
	return g.router.describeAs(pattern, given{fn, reflect.TypeFor[[]T]()}, err)
}

// forBatch returns the group for a batch handler, in a lane that is large enough.
func (g *Group) forBatch(pattern string, cfg *BatchConfig) (*Group, error) {
	refuse := func(field string, value any, problem, remedy string) (*Group, error) {
		return nil, g.router.refuse(configError("BatchConfig."+field, value, problem, remedy))
	}
	switch {
	case cfg.MaxSize < 0 || cfg.MaxSize > maxConcurrency:
		return refuse("MaxSize", cfg.MaxSize, "is negative or over 1048576", "set it to a number of events, or to 0 for 100")
	case cfg.MaxWait < 0:
		return refuse("MaxWait", cfg.MaxWait, "is negative", "set it to a duration, or to 0 for 100 ms")
	case cfg.Concurrency < 0:
		return refuse("Concurrency", cfg.Concurrency, "is negative", "set it to a number of calls, or to 0 for 1")
	}
	if cfg.MaxSize == 0 {
		cfg.MaxSize = DefaultBatchSize
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = DefaultBatchWait
	}
	own := g.lane.index == 0
	if !own && g.lane.Concurrency < cfg.MaxSize {
		return refuse("MaxSize", cfg.MaxSize, fmt.Sprintf("is over the Concurrency of lane %q, %d: such a batch is never full", g.lane.Name, g.lane.Concurrency), "lower it, or raise the lane's Concurrency")
	}
	if !own {
		return g, nil
	}
	places := min(cfg.MaxSize*min(max(cfg.Concurrency, 1), maxConcurrency), maxConcurrency)
	lane, err := g.router.Lane(LaneConfig{Name: "batch " + pattern, Concurrency: places, KillSwitch: g.router.cfg.KillSwitch})
	lane.parent = g
	return lane, err
}

// batcher gathers events whose handlers wait, and calls fn for them.
type batcher[T any] struct {
	cfg BatchConfig
	fn  func(ctx context.Context, evs []events.Event[T]) []error

	mu   sync.Mutex
	open *batch[T] // that takes more; nil if there is none
}

// batch is one call of fn. It is made by the handler of its first event.
type batch[T any] struct {
	evs  []events.Event[T]
	ctxs []context.Context
	full chan struct{} // closed when it takes no more
	done chan struct{} // closed when errs is there
	errs []error
}

// handle puts an event into a batch and returns its result.
func (b *batcher[T]) handle(ctx context.Context, ev events.Event[T]) error {
	b.mu.Lock()
	in, first := b.open, b.open == nil
	if first {
		in = &batch[T]{full: make(chan struct{}), done: make(chan struct{})}
		b.open = in
	}
	at := len(in.evs)
	in.evs, in.ctxs = append(in.evs, ev), append(in.ctxs, ctx)
	if len(in.evs) == b.cfg.MaxSize {
		b.open = nil
		close(in.full)
	}
	b.mu.Unlock()
	if first {
		b.lead(ctx, in)
	} else {
		<-in.done // The call has the event: its context is what may be ended.
	}
	return in.errs[at]
}

// lead waits until a batch is full, or long enough, and makes the call.
func (b *batcher[T]) lead(ctx context.Context, in *batch[T]) {
	timer := time.NewTimer(b.cfg.MaxWait)
	defer timer.Stop()
	select {
	case <-in.full:
	case <-timer.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	if b.open == in {
		b.open = nil
	}
	b.mu.Unlock()
	defer close(in.done)
	in.errs = make([]error, len(in.evs))
	for i := range in.errs {
		in.errs[i] = errGoexit // unless the call returns
	}
	callCtx, end := in.context()
	defer end(nil)
	b.call(callCtx, in)
}

// call calls fn for all events of a batch, or for each if that panics.
func (b *batcher[T]) call(ctx context.Context, in *batch[T]) {
	errs, err := b.try(ctx, in.evs)
	_, panicked := errors.AsType[*events.PanicError](err)
	for i := range in.errs {
		switch {
		case panicked && len(in.evs) > 1:
			single, err := b.try(ctx, in.evs[i:i+1:i+1])
			if in.errs[i] = err; err == nil {
				in.errs[i] = single[0]
			}
		case err != nil:
			in.errs[i] = err
		default:
			in.errs[i] = errs[i]
		}
	}
}

// try calls fn and returns as many errors as there are events, or an error for all.
func (b *batcher[T]) try(ctx context.Context, evs []events.Event[T]) (errs []error, err error) {
	if err := protect(func() error { errs = b.fn(ctx, evs); return nil }); err != nil {
		return nil, err
	}
	if errs == nil {
		return make([]error, len(evs)), nil
	}
	if len(errs) != len(evs) {
		return nil, fmt.Errorf("router: a batch handler returned %d errors for %d events: return one for each, or nil", len(errs), len(evs))
	}
	return errs, nil
}

// context returns the context of a call: that of its first event, but for its end.
func (in *batch[T]) context() (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(in.ctxs[0]))
	left := make(chan struct{}, len(in.ctxs)) // a token for each event that is not lost
	stops := make([]func() bool, len(in.ctxs))
	for range in.ctxs {
		left <- struct{}{}
	}
	for i, own := range in.ctxs {
		stops[i] = context.AfterFunc(own, func() {
			cause := context.Cause(own)
			<-left
			if !errors.Is(cause, transport.ErrLeaseLost) || len(left) == 0 {
				cancel(cause)
			}
		})
	}
	return ctx, func(cause error) {
		for _, stop := range stops {
			stop()
		}
		cancel(cause)
	}
}
