package middleware

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// Defaults of [RetryConfig].
const (
	DefaultMaxAttempts       = 3
	DefaultInitialInterval   = 100 * time.Millisecond
	DefaultMaxInterval       = 5 * time.Second
	DefaultMultiplier        = 2.0
	DefaultJitter            = 0.5
	DefaultMaxInProcessDelay = 5 * time.Second
)

// RetryConfig configures [Retry].
type RetryConfig struct {
	// MaxAttempts is how often the handler runs for one delivery, the first run
	// included. Zero means DefaultMaxAttempts, 3.
	MaxAttempts int
	// InitialInterval is the wait after the first failure. Zero means
	// DefaultInitialInterval, 100 ms, or MaxInterval if that is less.
	InitialInterval time.Duration
	// MaxInterval limits each wait. Zero means DefaultMaxInterval, 5 s, or
	// InitialInterval if that is more.
	MaxInterval time.Duration
	// Multiplier is by what each wait is longer than the one before, at least 1.
	// Zero means DefaultMultiplier, 2.
	Multiplier float64
	// Jitter spreads each wait evenly over itself ± this part of it, at most 1,
	// so that handlers that failed together do not return together. Zero means
	// DefaultJitter, 0.5; a negative value means none.
	Jitter float64
	// MaxInProcessDelay is the longest delay of events.RetryAfter that is waited
	// for here, where it occupies a lane. An error that asks for more goes to
	// the transport at once. Zero means DefaultMaxInProcessDelay, 5 s.
	MaxInProcessDelay time.Duration
}

// Retry runs the handler again, in process, when it fails: for failures that
// pass within seconds. For longer ones a handler returns events.RetryAfter, and
// the transport keeps the message meanwhile.
//
// Waits grow from InitialInterval by Multiplier up to MaxInterval, with Jitter;
// by default about 100 ms and 200 ms. events.RetryAfter up to MaxInProcessDelay
// replaces one wait and leaves the others as they are. Each message has a
// schedule of its own.
//
// It stops at once, and returns the error, when the handler returns
// events.Permanent, events.Discard, events.RetryAfter over MaxInProcessDelay, or,
// under package router, [ErrInProgress], which the transport can wait for without
// a lane. It stops waiting when the message's context ends and returns the last
// error together with the context's cause. An error after more than one attempt
// says how many there were; its class stays.
//
// Every attempt starts with the context that the message came with. Panics
// pass through: put a middleware that recovers them inside.
//
// Put it inside PoisonQueue, which takes the returned error as final, and
// outside Validation and Idempotency. Without PoisonQueue the transport brings
// the message back, for as many attempts again.
func Retry(cfg RetryConfig) (message.HandlerMiddleware, error) {
	cfg.setDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return cfg.handle(msg, next) }
	}, nil
}

func (c *RetryConfig) setDefaults() {
	if c.MaxAttempts == 0 {
		c.MaxAttempts = DefaultMaxAttempts
	}
	if c.InitialInterval == 0 {
		c.InitialInterval = DefaultInitialInterval
		if c.MaxInterval > 0 {
			c.InitialInterval = min(c.InitialInterval, c.MaxInterval)
		}
	}
	if c.MaxInterval == 0 {
		c.MaxInterval = max(DefaultMaxInterval, c.InitialInterval)
	}
	if c.Multiplier == 0 {
		c.Multiplier = DefaultMultiplier
	}
	if c.Jitter == 0 {
		c.Jitter = DefaultJitter
	}
	if c.MaxInProcessDelay == 0 {
		c.MaxInProcessDelay = DefaultMaxInProcessDelay
	}
}

func (c *RetryConfig) check() error {
	switch {
	case c.MaxAttempts < 1:
		return configError("RetryConfig.MaxAttempts", c.MaxAttempts, "is negative", "set it to a number of runs, or to 0 for 3")
	case c.InitialInterval < 0:
		return configError("RetryConfig.InitialInterval", c.InitialInterval, "is negative", "set it to a duration, or to 0 for 100 ms")
	case c.MaxInterval < c.InitialInterval:
		return configError("RetryConfig.MaxInterval", c.MaxInterval, "is less than InitialInterval", "set it to at least InitialInterval, or to 0 for 5 s")
	case !(c.Multiplier >= 1) || math.IsInf(c.Multiplier, 0): // NaN is not >= 1.
		return configError("RetryConfig.Multiplier", c.Multiplier, "is less than 1 or no number", "set it to 1 or more, or to 0 for 2")
	case !(c.Jitter <= 1):
		return configError("RetryConfig.Jitter", c.Jitter, "is more than 1 or no number", "set it to a part of the interval, to 0 for 0.5, or to -1 for none")
	case c.MaxInProcessDelay < 0:
		return configError("RetryConfig.MaxInProcessDelay", c.MaxInProcessDelay, "is negative", "set it to a duration, or to 0 for 5 s")
	}
	return nil
}

func (c *RetryConfig) handle(msg *message.Message, next message.HandlerFunc) ([]*message.Message, error) {
	ctx := msg.Context()
	var schedule *backoff.ExponentialBackOff // made at the first failure
	for attempt := 1; ; attempt++ {
		produced, err := next(msg)
		// What is inside may have left a context here that has ended since, as
		// Watermill's Timeout does.
		msg.SetContext(ctx)
		if err == nil {
			return produced, nil
		}
		if attempt == c.MaxAttempts || c.final(ctx, err) {
			return nil, counted(attempt, err)
		}
		if schedule == nil {
			schedule = c.schedule()
		}
		wait, asked := events.RetryDelay(err)
		if !asked {
			wait = schedule.NextBackOff()
			if wait < 0 || wait > c.MaxInterval { // With Jitter a long interval overflows.
				wait = c.MaxInterval
			}
		}
		if cause := pause(ctx, wait); cause != nil {
			return nil, fmt.Errorf("%w (not tried again: %w)", counted(attempt, err), opaque(cause))
		}
	}
}

// final reports whether err ends the attempts in this process.
func (c *RetryConfig) final(ctx context.Context, err error) bool {
	if events.IsPermanent(err) || events.IsDiscard(err) {
		return true
	}
	if d, ok := events.RetryDelay(err); ok && d > c.MaxInProcessDelay {
		return true
	}
	// Where nobody would keep the delay it is better kept here.
	d, _ := transport.DeliveryFromContext(ctx)
	return d != nil && errors.Is(err, ErrInProgress)
}

func (c *RetryConfig) schedule() *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(c.InitialInterval),
		backoff.WithMaxInterval(c.MaxInterval),
		backoff.WithMultiplier(c.Multiplier),
		backoff.WithRandomizationFactor(max(c.Jitter, 0)),
		backoff.WithMaxElapsedTime(0), // MaxAttempts ends it.
	)
}

func counted(attempts int, err error) error {
	if attempts == 1 {
		return err
	}
	return fmt.Errorf("after %d attempts: %w", attempts, err)
}

// pause waits, and returns the cause if ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
