package router

import (
	"errors"
	"fmt"
	"strings"

	"github.com/logistically/events"
)

// ErrRunTwice is returned by a second call of [Router.Run]: a Router runs
// once, whatever the first call returned. Make a new one.
var ErrRunTwice = errors.New("router: Run was called before: make a new Router to run again")

var (
	// ErrHandlerTimeout is the cause with which the context of a handler ends
	// that has run for [Config.HandlerTimeout].
	ErrHandlerTimeout = errors.New("router: the handler has run for longer than its HandlerTimeout")
	// ErrStuck is why the delivery of a handler is retried that goes on though its
	// context ended [Config.StuckGrace] ago.
	ErrStuck = errors.New("router: the handler is stuck: it ignores that its context has ended")
	// ErrKeyGivenUp is why a message of an ordered lane is a dead letter that came
	// behind one that was given up. See [DeadLetterKey].
	ErrKeyGivenUp = errors.New("router: an earlier event of the same key was given up")
)

var (
	// errGoexit stands for the result of a handler that ended its goroutine,
	// as testing.T.FailNow does.
	errGoexit     = errors.New("router: the handler called runtime.Goexit (does it call t.Fatal?)")
	errNilContext = errors.New("router: Run: the context is nil: pass one that ends when the router is to stop")
	// errNoPublisher is Watermill's message.ErrOutputInNoPublisherHandler with a remedy.
	errNoPublisher = errors.New("router: a handler without a publisher returned messages: register it by HandleAndPublish")
)

// UnknownTypeError is the failure of a message for which no handler is
// registered. See [Config.Unknown].
type UnknownTypeError struct {
	Type  string // the event type, or the topic if the message names no type
	Topic string // where the message came from
}

func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("router: no handler for event type %q (topic %q): register one for it or for a pattern that matches it, set a Fallback, or drop such events with Config.Unknown = router.AckUnknown", e.Type, e.Topic)
}

// StuckError is returned by [Router.Run] when handlers kept running after
// their contexts had ended. Their deliveries were not settled but given back.
type StuckError struct {
	Handlers []StuckHandler
}

// StuckHandler is one call of a handler that did not return in time.
type StuckHandler struct {
	Pattern string // as registered
	Topic   string
	ID      string // the transport's id of the delivery
	UUID    string // the event's id
}

func (e *StuckError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "router: %d handlers were still running after the drain deadline and their deliveries are given back: make them return when their context ends", len(e.Handlers))
	for _, h := range e.Handlers {
		fmt.Fprintf(&b, "; handler %q: event %s, id %s in %q", h.Pattern, h.UUID, h.ID, h.Topic)
	}
	return b.String()
}

// decodeError marks an error as that of a body, which says nothing of the handler.
type decodeError struct{ error }

func (e *decodeError) Unwrap() error { return e.error }

func configError(field string, value any, problem, remedy string) *events.ConfigError {
	return &events.ConfigError{Field: "router." + field, Value: value, Problem: problem, Remedy: remedy}
}
