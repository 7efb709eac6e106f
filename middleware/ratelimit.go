package middleware

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"github.com/logistically/events/transport"
)

// Defaults of [RateLimitConfig] and [ThrottleConfig].
const (
	DefaultMaxWait        = 5 * time.Second
	DefaultLimiterTimeout = time.Second
)

// limiterDown is how long a message is put off when its limiter fails.
const limiterDown = time.Second

// RateLimitConfig configures [RateLimit].
type RateLimitConfig struct {
	// Limiter is asked for a turn for each message. Required.
	Limiter Limiter
	// Key is what the limiter knows the rate by. Handlers with one limiter and one key
	// share a rate. Empty is a key like others.
	Key string
	// MaxWait is the longest wait for a turn that occupies a lane. Zero means
	// DefaultMaxWait, 5 s.
	MaxWait time.Duration
	// LimiterTimeout is how long the limiter may take. Zero means
	// DefaultLimiterTimeout, 1 s.
	LimiterTimeout time.Duration
	// FailOpen handles messages without a limit while the limiter fails. Otherwise
	// they are put off until it is back.
	FailOpen bool
	// Logger gets the limiter's errors where FailOpen hides them. Nil means slog.Default().
	Logger *slog.Logger
}

// RateLimit runs the handler no more often than a limiter allows: a turn for each run.
// A message waits for its turn in its lane, and with it those behind, which are all
// subject to the same rate; where rates differ by key, use [Throttle].
//
// A message whose turn is more than MaxWait away is put off by events.Snooze with
// [ErrRateLimited], at no cost of an attempt; in Watermill's router, which would bring it
// back at once, it waits here however long it takes. If the limiter fails or is too
// slow, the message is put off by a second, with the limiter's error, or handled, by
// FailOpen. If the message's context ends meanwhile, it is put off, too; the turn may be lost.
//
// Put it inside Retry, so that each attempt takes a turn, and outside Timeout, which
// would count the wait. A wrong configuration is a *events.ConfigError.
//
//go:noinline
func RateLimit(cfg RateLimitConfig) (message.HandlerMiddleware, error) {
	if cfg.MaxWait < 0 {
		return nil, configError("RateLimitConfig.MaxWait", cfg.MaxWait, "is negative", "set it to a duration, or to 0 for 5 s")
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = DefaultMaxWait
	}
	key := cfg.Key
	l := &limiting{cfg.Limiter, cfg.MaxWait, cfg.LimiterTimeout, cfg.FailOpen, cfg.Logger}
	if err := l.check("RateLimitConfig"); err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			if err := l.turn(msg.Context(), key); err != nil {
				return nil, err
			}
			return next(msg)
		}
	}, nil
}

// limiting is what RateLimit and Throttle have in common.
type limiting struct {
	limiter  Limiter
	maxWait  time.Duration
	timeout  time.Duration
	failOpen bool
	logger   *slog.Logger
}

func (l *limiting) check(name string) error {
	if nilcheck.IsNil(l.limiter) {
		return configError(name+".Limiter", l.limiter, "is nil", "set it to a Limiter, such as middleware.NewLocalLimiter's")
	}
	if l.timeout < 0 {
		return configError(name+".LimiterTimeout", l.timeout, "is negative", "set it to a duration, or to 0 for 1 s")
	}
	if l.timeout == 0 {
		l.timeout = DefaultLimiterTimeout
	}
	if l.logger == nil {
		l.logger = slog.Default()
	}
	return nil
}

// turn returns when it is the message's turn, or why it is not handled now.
func (l *limiting) turn(ctx context.Context, key string) error {
	d, _ := transport.DeliveryFromContext(ctx)
	for {
		wait, ok, err := l.take(ctx, key)
		switch {
		case err != nil && l.failOpen && ctx.Err() == nil:
			l.logger.WarnContext(ctx, "rate limiter failed: the event is handled without a limit", "key", key, "error", err)
			return nil
		case err != nil:
			return events.Snooze(limiterDown, fmt.Errorf("middleware: rate limit: ask the limiter about %q: %w", key, opaque(err)))
		case ok && wait <= 0:
			return nil
		case !ok && d != nil:
			return events.Snooze(wait, fmt.Errorf("%w: key %q, %v until the next", ErrRateLimited, key, wait))
		}
		if cause := pause(ctx, wait); cause != nil {
			return events.Snooze(0, fmt.Errorf("%w: key %q: %w", ErrRateLimited, key, opaque(cause)))
		}
		if ok {
			return nil
		}
	}
}

func (l *limiting) take(ctx context.Context, key string) (time.Duration, bool, error) {
	if _, local := l.limiter.(*LocalLimiter); local { // It waits for nothing.
		return l.limiter.Take(ctx, key, l.maxWait)
	}
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return l.limiter.Take(ctx, key, l.maxWait)
}
