package transport

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// Metadata keys of a dead letter. A transport adds them to the message it
// stores, and the poison queue middleware does where a transport cannot.
const (
	MetadataFailureReason   = "failure_reason"   // the error's text, up to 4 KiB
	MetadataFailureChain    = "failure_chain"    // the types of the errors in it, outermost first, separated by ", "
	MetadataFailureTopic    = "failure_topic"    // the topic the message came from
	MetadataFailureID       = "failure_id"       // the transport's id of it there
	MetadataFailureAttempts = "failure_attempts" // how often it was tried: Delivery.Attempt
	MetadataFailureTime     = "failure_time"     // when it was given up, RFC 3339
	MetadataFailureStored   = "failure_stored"   // when it was first stored, RFC 3339
	MetadataFailureHandler  = "failure_handler"  // the pattern of the handler that failed
	MetadataFailureTrace    = "failure_trace"    // the span of the attempt that failed, as a W3C traceparent; a transport keeps it over a Retry, too
	MetadataFailureStack    = "failure_stack"    // where it panicked, if it did, up to 4 KiB
)

// maxText keeps a stack, and an error that quotes the event, from making a dead
// letter much larger than the event.
const maxText = 4 << 10

// FailureMetadata describes why a delivery is given up. A cause whose methods
// panic, such as a nil pointer, is described as well as may be.
func FailureMetadata(d *Delivery, cause error) message.Metadata {
	md := message.Metadata{
		MetadataFailureReason:   "unknown",
		MetadataFailureTopic:    d.Topic,
		MetadataFailureID:       d.ID,
		MetadataFailureAttempts: strconv.Itoa(d.Attempt),
		MetadataFailureTime:     time.Now().UTC().Format(time.RFC3339Nano),
	}
	if cause != nil {
		md[MetadataFailureReason] = reason(cause)
		md[MetadataFailureChain] = chain(cause)
	}
	if !d.Stored.IsZero() {
		md[MetadataFailureStored] = d.Stored.UTC().Format(time.RFC3339Nano)
	}
	if stack := stackOf(cause); stack != "" {
		md[MetadataFailureStack] = cut(stack)
	}
	return md
}

// reason is the text of cause. Package fmt survives an Error method that
// panics, but does not say what is wrong: most often a nil pointer of an
// error's type was returned where nil was meant.
func reason(cause error) string {
	text := fmt.Sprint(cause)
	if text == "<nil>" || strings.Contains(text, "(PANIC=Error method") {
		if e := nilPointerIn(cause); e != nil {
			text = fmt.Sprintf("the error is a nil %T: return nil for no error", e)
		}
	}
	return cut(text)
}

// chain names the types of the errors that cause wraps, by which dead letters of one
// kind are found. Where one wraps several, those of the first come first.
func chain(cause error) string {
	const most = 32
	var types []string
	var walk func(e error)
	walk = func(e error) {
		if e == nil || len(types) == most {
			return
		}
		types = append(types, fmt.Sprintf("%T", e))
		switch e := e.(type) {
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				walk(inner)
			}
		}
	}
	func() {
		defer func() { _ = recover() }() // The Unwrap of a broken error.
		walk(cause)
	}()
	return cut(strings.Join(types, ", "))
}

func nilPointerIn(cause error) error {
	defer func() { _ = recover() }() // The Unwrap of a broken error.
	for e := cause; e != nil; e = errors.Unwrap(e) {
		if nilcheck.IsNil(e) {
			return e
		}
	}
	return nil
}

// stackOf returns where cause panicked, if it did.
func stackOf(cause error) (stack string) {
	defer func() { _ = recover() }() // The Unwrap or As of a broken error.
	if p, ok := errors.AsType[*events.PanicError](cause); ok {
		return string(p.Stack)
	}
	return ""
}

// cut shortens a text to maxText, at the end of a character.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	const more = " ..."
	return strings.ToValidUTF8(text[:maxText-len(more)], "") + more
}
