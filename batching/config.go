// Package batching publishes many messages in one call: a decorator over any
// message.Publisher that gathers messages and hands them on in batches, in the
// order in which they came, and says of each one whether it went out.
package batching

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// Mode says what a nil error of Publish means.
type Mode int

const (
	// Wait: Publish returns when its own messages have been published, or with
	// an *events.PublishError. Batches form from concurrent callers. It is the
	// zero value.
	Wait Mode = iota
	// Buffered: Publish returns at once; the messages are published later. What
	// then fails is kept for FailedMessages and RetryFailed. Until then a message
	// is in memory only, and a crash loses it. So a handler must not publish what
	// follows from its message through a Buffered publisher: its nil would have
	// the message acknowledged before what follows is stored. Use Wait there.
	Buffered
)

// FullPolicy says what Publish does when the buffer is full.
type FullPolicy int

const (
	// WaitForRoom waits until there is room, or the message's context ends: give
	// it one that does, as failed messages may take up all the room. It is the
	// zero value.
	WaitForRoom FullPolicy = iota
	// ErrorWhenFull returns ErrBufferFull.
	ErrorWhenFull
)

// ErrBufferFull says that the buffer has no room and the policy is not to wait.
var ErrBufferFull = errors.New("batching: the buffer is full")

// Config configures [NewPublisher].
type Config struct {
	Mode Mode
	// MaxSize is how many messages a batch has at most. Zero means 500.
	MaxSize int
	// MaxBytes is how many bytes of payload a batch has at most. A message that
	// has more is refused with events.ErrTooLarge. Zero means 1 MiB.
	MaxBytes int
	// MaxWait is how long the first message of a batch waits for others. Zero
	// means 1 s when Buffered. In Wait mode zero means not at all: a batch is
	// whatever came while the last one was under way.
	MaxWait time.Duration
	// MaxConcurrentBatches is how many batches are under way at most. Further
	// ones wait; none is refused. Zero means 5.
	MaxConcurrentBatches int
	// MaxBuffered is how many messages are held at most: waiting, under way, or
	// kept as failed. When as many are, those that wait for a batch to fill wait
	// no longer. Failed ones make room when RetryFailed has published them, or
	// with TakeFailed. Zero means 10 000.
	MaxBuffered int
	// MaxBufferedBytes is how many bytes of payload they have at most, together.
	// It must not be below MaxBytes. Zero means 64 MiB, or MaxBytes if that is more.
	MaxBufferedBytes int
	// Full says what Publish does when no more can be held.
	Full FullPolicy
	// Strategy names the batch that a message belongs to. Messages of one name
	// and topic stay in order: one batch of them is under way at a time, but for
	// calls of 64 messages or more in Wait mode, which run beside each other when
	// their callers do. It must be a pure function. Nil means ExactType.
	Strategy func(topic string, msg *message.Message) string
	// Logger gets failed batches of Buffered mode. Nil means slog.Default().
	Logger *slog.Logger
}

func (cfg *Config) complete() error {
	bad := func(field string, value any, problem, remedy string) error {
		return &events.ConfigError{Field: "batching.Config." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	switch {
	case cfg.Mode < Wait || cfg.Mode > Buffered:
		return bad("Mode", cfg.Mode, "is no mode", "use batching.Wait or batching.Buffered")
	case cfg.Full < WaitForRoom || cfg.Full > ErrorWhenFull:
		return bad("Full", cfg.Full, "is no policy", "use batching.WaitForRoom or batching.ErrorWhenFull")
	case cfg.MaxSize < 0:
		return bad("MaxSize", cfg.MaxSize, "is negative", "set a number of messages, or 0 for 500")
	case cfg.MaxBytes < 0:
		return bad("MaxBytes", cfg.MaxBytes, "is negative", "set a number of bytes, or 0 for 1 MiB")
	case cfg.MaxWait < 0:
		return bad("MaxWait", cfg.MaxWait, "is negative", "set a duration, or 0")
	case cfg.MaxConcurrentBatches < 0:
		return bad("MaxConcurrentBatches", cfg.MaxConcurrentBatches, "is negative", "set a number of batches, or 0 for 5")
	case cfg.MaxBuffered < 0:
		return bad("MaxBuffered", cfg.MaxBuffered, "is negative", "set a number of messages, or 0 for 10 000")
	case cfg.MaxBufferedBytes < 0:
		return bad("MaxBufferedBytes", cfg.MaxBufferedBytes, "is negative", "set a number of bytes, or 0 for 64 MiB")
	}
	setDefault(&cfg.MaxSize, 500)
	setDefault(&cfg.MaxBytes, 1<<20)
	setDefault(&cfg.MaxConcurrentBatches, 5)
	setDefault(&cfg.MaxBuffered, 10_000)
	setDefault(&cfg.MaxBufferedBytes, max(64<<20, cfg.MaxBytes))
	if cfg.MaxBufferedBytes < cfg.MaxBytes {
		return bad("MaxBufferedBytes", cfg.MaxBufferedBytes, fmt.Sprintf("is below MaxBytes, %d: a message of that size would never find room", cfg.MaxBytes), "raise it, or lower MaxBytes")
	}
	if cfg.MaxWait == 0 && cfg.Mode == Buffered {
		cfg.MaxWait = time.Second
	}
	if cfg.Strategy == nil {
		cfg.Strategy = ExactType
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return nil
}

func setDefault(value *int, fallback int) {
	if *value == 0 {
		*value = fallback
	}
}
