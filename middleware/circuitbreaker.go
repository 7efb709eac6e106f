package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/sony/gobreaker/v2"
)

// Defaults of [CircuitBreakerConfig].
const (
	DefaultCircuitFailures = DefaultMaxAttempts
	DefaultOpenFor         = 10 * time.Second
)

// CircuitBreakerConfig configures [CircuitBreaker].
type CircuitBreakerConfig struct {
	// Name tells it from others in logs.
	Name string
	// Failures is how many there must be in a row, over all messages, to open the
	// circuit. With more than Retry's MaxAttempts the first messages of an outage may be
	// given up before that. Zero means DefaultCircuitFailures, 3.
	Failures int
	// OpenFor is how long to wait before a message is tried. Zero means
	// DefaultOpenFor, 10 s.
	OpenFor time.Duration
	// IsFailure says of an error that what the handler depends on is away. It must be
	// safe for concurrent use. Nil means every error but those marked with
	// events.Permanent, events.Discard or events.Snooze, which say nothing of that.
	IsFailure func(err error) bool
	// Logger is told when the circuit opens and closes. Nil means slog.Default().
	Logger *slog.Logger
}

// CircuitBreaker pauses when too many handlers fail in a row, as they do when something
// that they all need is away: messages wait where they are, and none is given up. By
// sony/gobreaker; each call of the constructor is one circuit.
//
// The circuit is closed at first. Failures in a row open it. While it is open no handler
// begins: messages wait in their lane, whose workers are soon all occupied, and so the
// router receives no more; leases are kept alive. A message that fails when the circuit
// is open by then waits as well, and is tried again at no cost of an attempt. After
// OpenFor one message is tried. If that succeeds the circuit closes, and all go on. If
// not, it comes back later by events.Snooze, with [ErrCircuitOpen], and another one is
// tried after OpenFor; in Watermill's router, which would bring it back at once, it waits.
// Failures before the circuit opens are returned as ever. A message that always fails
// and is alone keeps the circuit open: mark its error with events.Permanent.
//
// When a message's context ends while it waits, it is put off by events.Snooze: that
// is the shutdown's release under package router. In Watermill's router it is nacked;
// Watermill's own poison queue needs a filter that does not take errors.Is(err,
// ErrCircuitOpen), that of this package needs none.
//
// Put it inside PoisonQueue and Retry, and outside Timeout, Recoverer and Idempotency.
// Handlers that share a lane with others should not keep those waiting: give them a
// lane of their own. The kill switch of package router works by lane instead, and by the
// ratio of failures; KillSwitchConfig.OpenOn may take errors.Is(err, ErrCircuitOpen). A wrong
// configuration is a *events.ConfigError.
//
//go:noinline
func CircuitBreaker(cfg CircuitBreakerConfig) (message.HandlerMiddleware, error) {
	switch {
	case cfg.Failures < 0 || cfg.Failures > math.MaxInt32:
		return nil, configError("CircuitBreakerConfig.Failures", cfg.Failures, "is negative or too many", "set it to a number of failures, or to 0 for 3")
	case cfg.OpenFor < 0:
		return nil, configError("CircuitBreakerConfig.OpenFor", cfg.OpenFor, "is negative", "set it to a duration, or to 0 for 10 s")
	}
	if cfg.Failures == 0 {
		cfg.Failures = DefaultCircuitFailures
	}
	if cfg.OpenFor == 0 {
		cfg.OpenFor = DefaultOpenFor
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	b := newBreaker(cfg)
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return b.handle(msg, next) }
	}, nil
}

type breaker struct {
	CircuitBreakerConfig
	circuit *gobreaker.TwoStepCircuitBreaker[any]

	mu      sync.Mutex // taken inside that of circuit, never the other way round
	state   gobreaker.State
	changed chan struct{} // closed when waiting messages are to look again
	until   time.Time     // when an open circuit lets one message through
}

// errUncounted tells the circuit of a run that says nothing about it.
var errUncounted = errors.New("does not count")

func newBreaker(cfg CircuitBreakerConfig) *breaker {
	b := &breaker{CircuitBreakerConfig: cfg, changed: make(chan struct{})}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name: cfg.Name, Timeout: cfg.OpenFor, MaxRequests: 1, OnStateChange: b.became,
		ReadyToTrip: func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= cfg.Failures },
		IsExcluded:  func(err error) bool { return err == errUncounted },
	})
	return b
}

func (b *breaker) handle(msg *message.Message, next message.HandlerFunc) ([]*message.Message, error) {
	ctx := msg.Context()
	d, _ := transport.DeliveryFromContext(ctx)
	for {
		ready := b.ready()
		done, refused := b.circuit.Allow()
		if refused != nil {
			if cause := b.wait(ctx, ready); cause != nil {
				return nil, events.Snooze(b.OpenFor, fmt.Errorf("%w: %w", ErrCircuitOpen, opaque(cause)))
			}
			continue
		}
		tried := b.is(gobreaker.StateHalfOpen)
		produced, err := b.run(ctx, msg, next, done)
		// Half open counts as open: it may be that long since the failure.
		if err == nil || !b.fails(ctx, err) || b.circuit.State() == gobreaker.StateClosed {
			return produced, err
		}
		if tried && d != nil { // so that one bad message does not keep it open
			return nil, events.Snooze(b.OpenFor, fmt.Errorf("%w: %w", ErrCircuitOpen, opaque(err)))
		}
	}
}

// run calls the handler and tells the circuit of it. A panic is a failure and goes on.
func (b *breaker) run(ctx context.Context, msg *message.Message, next message.HandlerFunc, done func(error)) (produced []*message.Message, err error) {
	verdict := error(&events.PanicError{})
	defer func() {
		msg.SetContext(ctx) // What is inside may have left another.
		done(verdict)
		if verdict == errUncounted {
			b.again()
		}
	}()
	produced, err = next(msg)
	if verdict = err; err != nil && !b.fails(ctx, err) {
		verdict = errUncounted
	}
	return produced, err
}

// fails reports whether an error says that what the handler depends on is away.
func (b *breaker) fails(ctx context.Context, err error) bool {
	switch {
	case ended(ctx):
		return false
	case b.IsFailure != nil:
		return b.IsFailure(err)
	}
	return !events.IsPermanent(err) && !events.IsDiscard(err) && !events.IsSnooze(err)
}

// wait returns when it is worth asking the circuit again, or why ctx has ended.
func (b *breaker) wait(ctx context.Context, ready <-chan struct{}) error {
	b.mu.Lock()
	wait := time.Until(b.until)
	if b.state == gobreaker.StateHalfOpen {
		wait = b.OpenFor // for what is being tried; ready tells when that is over
	}
	b.mu.Unlock()
	timer := time.NewTimer(max(wait, time.Millisecond))
	defer timer.Stop()
	select {
	case <-ready:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// ready returns a channel that is closed at the next change.
func (b *breaker) ready() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

func (b *breaker) is(state gobreaker.State) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == state
}

// again wakes all that wait.
func (b *breaker) again() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
}

// became is called by the circuit, which holds its own lock.
func (b *breaker) became(name string, from, to gobreaker.State) {
	b.mu.Lock()
	b.state = to
	b.until = time.Now().Add(b.OpenFor)
	b.mu.Unlock()
	b.again()
	switch {
	case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
		b.Logger.Error("the circuit opens: messages wait", "circuit", name, "next_try", b.OpenFor)
	case to == gobreaker.StateClosed:
		b.Logger.Info("the circuit closes: messages go on", "circuit", name)
	}
}
