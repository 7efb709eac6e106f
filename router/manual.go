package router

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// DefaultMaxPending is the default of [ManualConfig.MaxPending].
const DefaultMaxPending = 100

// ErrNotSettled says that the context of a delivery of [HandleManual] ended, by
// the cause that the error wraps too, before its handler had settled it.
var ErrNotSettled = errors.New("router: the handler did not settle the delivery in time")

// ManualConfig configures [HandleManual].
type ManualConfig struct {
	// MaxPending is how many deliveries may be unsettled at a time. Zero means
	// DefaultMaxPending, 100. It is ignored in a lane, whose Concurrency counts.
	MaxPending int
}

// Settler settles one delivery, once. It is safe for concurrent use.
type Settler struct {
	decided atomic.Bool
	result  chan error
}

// Settle decides about the delivery as a handler does that returns err: nil acks
// it, events.Discard drops it, events.Permanent makes it a dead letter,
// events.RetryAfter and any other error bring it back later. It does not block.
//
// It reports whether this call has decided. It has not if there was one before,
// or if the delivery is no longer the handler's because its context has ended.
// What was decided is on its way to the transport then, which settles it as it
// settles all others.
func (s *Settler) Settle(err error) bool {
	if !s.decided.CompareAndSwap(false, true) {
		return false
	}
	s.result <- err
	return true
}

// HandleManual registers fn for events that match pattern, and leaves it to fn
// when to settle them: it may keep the [Settler], return, and call it later, from
// another goroutine if it likes. An error that fn returns, and a panic, settle
// the delivery if nothing has before; nil leaves it to the Settler.
//
// Until then the delivery is as if its handler were running. Its lease is kept
// alive, it occupies a place of its lane, and ctx stays alive: it ends when the
// delivery is settled, with the lease, with a handler timeout, and when the drain
// deadline has passed. From then on Settle is too late, and returns false. A
// delivery that was not settled by then fails with [ErrNotSettled]: it is given
// back at the drain deadline and retried after a timeout. What nobody ever
// settles keeps its place until then, so set a HandlerTimeout; and HealthConfig.MaxStall
// counts the wait as a handler that runs, and so does the Lease of the idempotency
// middleware.
//
// Middleware goes around all of it. It sees the error that settles the delivery,
// when it does; what it does to the message's context lasts as long.
//
// On a [Router], or a [Group] in no lane, the handler gets a lane of its own,
// called "manual" and the pattern, with MaxPending places. In an ordered lane
// the next event of a key comes when the one before is settled.
//
// Errors are those of [Registrar].
func HandleManual[T any](reg Registrar, pattern string, cfg ManualConfig, fn func(ctx context.Context, ev events.Event[T], s *Settler) error, mw ...message.HandlerMiddleware) error {
	g, err := reg.group().forManual(pattern, cfg)
	if err != nil {
		return err
	}
	if fn == nil {
		return g.HandleMessage(pattern, nil, mw...)
	}
	r := g.router
	err = g.HandleMessage(pattern, func(msg *message.Message) error {
		ev, err := events.Decode[T](msg, r.cfg.Codec)
		if err != nil {
			return &decodeError{err}
		}
		ctx := msg.Context()
		return r.settledBy(ctx, ev.Header, func(s *Settler) error { return fn(ctx, ev, s) })
	}, mw...)
	return r.describeAs(pattern, given{fn, reflect.TypeFor[T]()}, err)
}

// forManual returns the group for a handler that settles by itself.
func (g *Group) forManual(pattern string, cfg ManualConfig) (*Group, error) {
	if cfg.MaxPending < 0 || cfg.MaxPending > maxConcurrency {
		return nil, g.router.refuse(configError("ManualConfig.MaxPending", cfg.MaxPending, "is negative or over 1048576", "set it to a number of deliveries, or to 0 for 100"))
	}
	if g.lane.index != 0 {
		return g, nil
	}
	if cfg.MaxPending == 0 {
		cfg.MaxPending = DefaultMaxPending
	}
	lane, err := g.router.Lane(LaneConfig{Name: "manual " + pattern, Concurrency: cfg.MaxPending, KillSwitch: g.router.cfg.KillSwitch})
	lane.parent = g
	return lane, err
}

// settledBy calls start and waits until the Settler that it is given is used, or
// ctx ends.
func (r *Router) settledBy(ctx context.Context, h events.Header, start func(*Settler) error) error {
	s := &Settler{result: make(chan error, 1)}
	defer s.decided.Store(true) // Also if start ends its goroutine.
	if err := protect(func() error { return start(s) }); err != nil && !s.Settle(err) {
		r.cfg.Logger.Warn("a handler failed after it had settled its delivery, which stays settled", "type", h.Type, "event", h.ID, "error", err)
	}
	select {
	case err := <-s.result:
		return err
	case <-ctx.Done():
		s.Settle(fmt.Errorf("%w: %w", ErrNotSettled, context.Cause(ctx)))
		return <-s.result
	}
}
