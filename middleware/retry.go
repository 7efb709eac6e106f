package middleware

import (
	"math"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
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
	// MaxAttempts is how often the handler runs for one message, the first run
	// included, and those of earlier deliveries, where the transport counts them
	// (Capabilities.Attempts). It runs at least once a delivery. Zero means
	// DefaultMaxAttempts, 3.
	MaxAttempts int
	// MaxElapsed ends the attempts when the next one would begin that long after the
	// message was stored (Delivery.Stored), or after its first attempt here where
	// that is not known. Zero means no limit.
	MaxElapsed time.Duration
	// InitialInterval is the wait after the first failure. Zero means
	// DefaultInitialInterval, 100 ms, or MaxInterval if that is less.
	InitialInterval time.Duration
	// MaxInterval limits each wait. Zero means DefaultMaxInterval, 5 s, or
	// InitialInterval if that is more.
	MaxInterval time.Duration
	// Multiplier is by what each wait is longer than the one before, at least 1.
	// Zero means DefaultMultiplier, 2.
	Multiplier float64
	// Jitter spreads each wait evenly over itself ± this part of it, at most 1 and
	// at most up to MaxInterval, so that handlers that failed together do not return
	// together. Zero means DefaultJitter, 0.5; a negative value means none.
	Jitter float64
	// MaxInProcessDelay is the longest wait that occupies a lane. For a longer one,
	// of the schedule or of events.RetryAfter, the message goes to the transport.
	// Zero means DefaultMaxInProcessDelay, 5 s.
	MaxInProcessDelay time.Duration
	// Classify says what an error of the handler means, by marking it with
	// events.Permanent (a dead letter), events.Discard (drop it), events.RetryAfter
	// (try it then) or events.Snooze (then, and the attempt does not count), usually
	// by errors.Is and errors.As; what it returns unmarked is retried by the schedule.
	// If it returns nil the error stays as it is. It must be safe for concurrent use.
	// Nil means that errors are marked already, or not at all.
	Classify func(err error) error
}

// Delay is the schedule: how long to wait after the failed attempt of this number,
// counted from 1, before Jitter. It is InitialInterval, longer by Multiplier after
// each further attempt, up to MaxInterval; it depends on nothing else. An attempt
// below 1 counts as 1.
func (c RetryConfig) Delay(attempt int) time.Duration {
	c.setDefaults()
	wait := float64(c.InitialInterval) * math.Pow(c.Multiplier, float64(max(attempt, 1)-1))
	if !(wait < float64(c.MaxInterval)) { // It may be infinite.
		return c.MaxInterval
	}
	return time.Duration(wait)
}

// Retry runs the handler again when it fails: in process where the wait is short,
// through the transport where it is longer, so that no lane waits. One schedule,
// [RetryConfig.Delay], and one count, Delivery.Attempt, are for both: they go on
// where they were after a restart, in whichever process. Of a process that dies
// amid attempts, the transport counts one.
//
// By default it runs the handler three times, after waits of about 100 ms and 200
// ms. events.RetryAfter replaces one wait. An error over MaxInProcessDelay from the
// next attempt becomes events.RetryAfter; in Watermill's router, where nobody would
// keep that delay, and where the transport does not count, it is waited for here.
//
// It stops at once, and returns the error, when the handler returns
// events.Permanent, events.Discard, events.Snooze or, under package router,
// [ErrInProgress], which the transport can wait for without a lane. A delivery that
// ends in events.Snooze costs no attempt, whatever failed in it before: with
// [CircuitBreaker] that was the outage. When the attempts
// are used up the error is [ErrAttemptsUsedUp], too: what is final whatever its
// class. It stops waiting when the message's context ends and returns the last error
// together with the context's cause. An error after more than one attempt says how
// many there were; its class stays.
//
// Every attempt starts with the context that the message came with. Panics
// pass through: put [Recoverer] inside, which package router does by itself.
//
// Put it inside PoisonQueue, which takes the returned error as final and whose
// MaxDeliveries must not be less than MaxAttempts, and outside Timeout, Validation
// and Idempotency. Without PoisonQueue the transport brings the message back. A wrong
// configuration is a *events.ConfigError.
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
	case c.MaxElapsed < 0:
		return configError("RetryConfig.MaxElapsed", c.MaxElapsed, "is negative", "set it to a duration, or to 0 for no limit")
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
