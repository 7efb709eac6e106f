package middleware

import (
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// ThrottleConfig configures [Throttle].
type ThrottleConfig struct {
	// Limiter is asked for a turn of the message's key. Required.
	Limiter Limiter
	// Key returns what a message's rate is counted by, such as a customer's number in its
	// metadata. A message whose key is "" has no limit. It must be safe for concurrent
	// use. Required.
	Key func(msg *message.Message) string
	// LimiterTimeout, FailOpen and Logger are as in [RateLimitConfig].
	LimiterTimeout time.Duration
	FailOpen       bool
	Logger         *slog.Logger
}

// Throttle limits how often messages of one key are handled, so that a customer who
// sends a million events does not keep the others waiting. A message that is too early
// leaves its lane: events.Snooze with [ErrRateLimited] brings it back when the next turn
// of its key comes, at no cost of an attempt. Nothing is dropped, and messages of a
// key may overtake each other, but not in an ordered lane, where the key waits. In
// Watermill's router, which would bring it back at once, the message waits here.
//
// If the limiter fails or is too slow, the message is put off by a second, or handled, by
// FailOpen. If Key panics, that is a failed attempt of the message.
//
// A million messages of one key come back a few at a time, each to find that others were
// before it: where most messages are of too busy keys, use an ordered lane of package
// router instead. Put it outside Retry: one turn for all attempts. A wrong
// configuration is a *events.ConfigError.
//
//go:noinline
func Throttle(cfg ThrottleConfig) (message.HandlerMiddleware, error) {
	if cfg.Key == nil {
		return nil, configError("ThrottleConfig.Key", nil, "is nil", "set it to a function that returns a message's key, or use RateLimit for one rate of all")
	}
	key := cfg.Key
	l := &limiting{cfg.Limiter, 0, cfg.LimiterTimeout, cfg.FailOpen, cfg.Logger}
	if err := l.check("ThrottleConfig"); err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			if k := key(msg); k != "" {
				if err := l.turn(msg.Context(), k); err != nil {
					return nil, err
				}
			}
			return next(msg)
		}
	}, nil
}
