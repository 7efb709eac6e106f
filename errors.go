package events

import (
	"errors"
	"fmt"
	"time"
)

// ErrClosed is returned by whatever is used after its Close.
var ErrClosed = errors.New("closed")

// ErrReleased is the cause with which a handler's context ends when its
// delivery is given back unfinished: the drain deadline passed. A handler that
// returns an error after that costs its message no attempt.
var ErrReleased = errors.New("events: drain deadline passed, the delivery is released")

// ErrTooLarge marks an event whose body is over [PublisherConfig.MaxBodyBytes].
var ErrTooLarge = errors.New("body over the size limit")

type classified struct {
	error
	class class
	after time.Duration
}

type class int

const (
	permanent class = iota + 1
	retryAfter
	discard
	snooze
)

func (e *classified) Unwrap() error { return e.error }

func classify(err error, c class, after time.Duration) error {
	if err == nil {
		return nil
	}
	return &classified{err, c, after}
}

func classOf(err error) (*classified, bool) {
	c, ok := errors.AsType[*classified](err)
	return c, ok
}

// Permanent marks err as one that no retry will mend: retries stop and the
// message goes to the dead letters. Permanent(nil) is nil.
//
// Where an error chain holds several of Permanent, [RetryAfter], [Snooze] and
// [Discard], the outermost one counts.
func Permanent(err error) error { return classify(err, permanent, 0) }

// RetryAfter marks err as temporary and says how long to wait before the next
// attempt, whatever the retry schedule says. A negative d counts as zero.
// RetryAfter(d, nil) is nil.
func RetryAfter(d time.Duration, err error) error { return classify(err, retryAfter, max(d, 0)) }

// Snooze marks err as one that is not the message's fault and says when to try it
// again: the attempt does not count, where the transport counts them. A message may
// be put off so without end. A negative d counts as zero. Snooze(d, nil) is nil.
func Snooze(d time.Duration, err error) error { return classify(err, snooze, max(d, 0)) }

// Discard marks err as one after which the message is of no use: it is
// acknowledged and dropped. Discard(nil) is nil.
func Discard(err error) error { return classify(err, discard, 0) }

// IsPermanent reports whether err is marked by [Permanent].
func IsPermanent(err error) bool {
	c, ok := classOf(err)
	return ok && c.class == permanent
}

// IsDiscard reports whether err is marked by [Discard].
func IsDiscard(err error) bool {
	c, ok := classOf(err)
	return ok && c.class == discard
}

// IsSnooze reports whether err is marked by [Snooze].
func IsSnooze(err error) bool {
	c, ok := classOf(err)
	return ok && c.class == snooze
}

// RetryDelay returns the delay that err asks for, if it is marked by [RetryAfter]
// or [Snooze].
func RetryDelay(err error) (time.Duration, bool) {
	if c, ok := classOf(err); ok && (c.class == retryAfter || c.class == snooze) {
		return c.after, true
	}
	return 0, false
}

// PanicError is what a panic of code that this library was given becomes: of a
// handler or middleware, a codec, a validator, a transport.
type PanicError struct {
	Value any    // what was passed to panic
	Stack []byte // of the panicking goroutine, as runtime/debug.Stack prints it
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value of the panic if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// ConfigError refuses a configuration at construction.
type ConfigError struct {
	Field   string // which setting, e.g. "redis.SubscriberConfig.Group"
	Value   any    // what it was
	Problem string // what is wrong with it
	Remedy  string // what to do
}

func (e *ConfigError) Error() string {
	return fmt.Sprintf("%s: %s (got %#v): %s", e.Field, e.Problem, e.Value, e.Remedy)
}
