package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"
	"github.com/logistically/events"
)

// RetryConfig configures [Retry].
type RetryConfig struct {
	// MaxAttempts is how often the handler runs at most, the first time
	// included. Zero means 3.
	MaxAttempts int
	// InitialInterval is the wait after the first attempt. Zero means 100 ms.
	InitialInterval time.Duration
	// Multiplier lengthens the wait after each further attempt. Zero means 2.
	Multiplier float64
	// MaxInterval bounds the wait. Zero means 5 s.
	MaxInterval time.Duration
	// Jitter spreads each wait evenly over its length ± this part of it, from 0
	// to 1. Zero means 0.5; a negative value means none.
	Jitter float64
	// MaxWait is the longest wait that is spent here, with the message's lane
	// kept busy. An error that asks for more (events.RetryAfter) is returned at
	// once, for the transport to bring the message back. Zero means MaxInterval.
	MaxWait time.Duration
}

// Retry runs the handler again when it fails, within the same delivery.
//
// It stops at once at an error that is permanent or to be discarded, at one
// that asks for a longer wait than MaxWait, and when the message's context
// ends. After the last attempt it returns the last error. Each message has a
// schedule of its own: concurrent messages do not advance each other's. Place
// it inside of PoisonQueue.
func Retry(cfg RetryConfig) (message.HandlerMiddleware, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			schedule := cfg.schedule()
			for attempt := 1; ; attempt++ {
				produced, err := next(msg)
				if err == nil || events.IsPermanent(err) || events.IsDiscard(err) || errors.Is(err, ErrInProgress) {
					return produced, err
				}
				wait, asked := events.RetryDelay(err)
				if asked && wait > cfg.MaxWait {
					return nil, err
				}
				if attempt >= cfg.MaxAttempts {
					return nil, fmt.Errorf("after %d attempts: %w", attempt, err)
				}
				if !asked {
					wait = schedule.NextBackOff()
				}
				if !sleep(msg.Context(), wait) {
					return nil, fmt.Errorf("%w (after %d attempts: %w)", context.Cause(msg.Context()), attempt, err)
				}
			}
		}
	}, nil
}

func (cfg *RetryConfig) complete() error {
	bad := func(field string, value any, problem, remedy string) error {
		return &events.ConfigError{Field: "middleware.RetryConfig." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	switch {
	case cfg.MaxAttempts < 0:
		return bad("MaxAttempts", cfg.MaxAttempts, "is negative", "set a number of attempts, or 0 for 3")
	case cfg.InitialInterval < 0 || cfg.MaxInterval < 0 || cfg.MaxWait < 0:
		return bad("InitialInterval, MaxInterval or MaxWait", []time.Duration{cfg.InitialInterval, cfg.MaxInterval, cfg.MaxWait}, "is negative", "set durations, or 0 for the defaults")
	case cfg.Multiplier != 0 && cfg.Multiplier < 1:
		return bad("Multiplier", cfg.Multiplier, "is below 1", "set 1 or more, or 0 for 2")
	case cfg.Jitter > 1:
		return bad("Jitter", cfg.Jitter, "is above 1", "set a part of the wait from 0 to 1")
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = 3
	}
	if cfg.InitialInterval == 0 {
		cfg.InitialInterval = 100 * time.Millisecond
	}
	if cfg.Multiplier == 0 {
		cfg.Multiplier = 2
	}
	if cfg.MaxInterval == 0 {
		cfg.MaxInterval = 5 * time.Second
	}
	if cfg.Jitter == 0 {
		cfg.Jitter = 0.5
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = cfg.MaxInterval
	}
	return nil
}

// schedule returns a fresh schedule: a BackOff is advanced by being asked.
func (cfg *RetryConfig) schedule() backoff.BackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(cfg.InitialInterval),
		backoff.WithMultiplier(cfg.Multiplier),
		backoff.WithMaxInterval(cfg.MaxInterval),
		backoff.WithRandomizationFactor(max(cfg.Jitter, 0)),
		backoff.WithMaxElapsedTime(0),
	)
}

// sleep waits, and reports false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
