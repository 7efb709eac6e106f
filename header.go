package events

import (
	"context"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/contextkey"
	"github.com/logistically/events/internal/hextext"
)

// Metadata keys under which a [Header] travels with a Watermill message. The
// event's id is the message's UUID. The correlation key is the one Watermill's
// own correlation middleware uses; the trace keys are those of W3C Trace
// Context.
const (
	MetadataType          = "event_type"
	MetadataOrigin        = "event_origin"
	MetadataTime          = "event_time"
	MetadataHash          = "event_hash"
	MetadataVersion       = "event_version"
	MetadataPriority      = "event_priority"
	MetadataCorrelationID = "correlation_id"
	MetadataCausationID   = "causation_id"
	MetadataTraceParent   = "traceparent"
	MetadataTraceState    = "tracestate"
)

// DefaultVersion is the header version of events whose publisher names none.
const DefaultVersion = "1.0.0"

// Header says what an event is, apart from its body.
type Header struct {
	// ID identifies the event: a UUIDv7 (RFC 9562) unless the caller chose another.
	ID string
	// Type names what happened, in dot-separated segments: "user.created".
	Type string
	// Origin is the service that published the event.
	Origin string
	// Time is when the event was published, UTC, to the microsecond.
	Time time.Time
	// Hash is the SHA-256 of the body as published, in lowercase hex.
	Hash string
	// Version is the version of the event's body.
	Version string
	// CorrelationID is shared by all events that one first event led to; the
	// first event of such a tree is its own correlation.
	CorrelationID string
	// CausationID is the id of the event whose handler published this one, or "".
	CausationID string
	// TraceParent and TraceState carry the W3C trace context, or "".
	TraceParent, TraceState string
}

// HeaderOf reads the header of a message. Members that the message does not
// carry are zero: a message of a plain Watermill publisher has an ID and
// nothing else. A time that cannot be parsed reads as zero.
func HeaderOf(msg *message.Message) Header {
	md := msg.Metadata
	h := Header{
		ID:            msg.UUID,
		Type:          md[MetadataType],
		Origin:        md[MetadataOrigin],
		Hash:          md[MetadataHash],
		Version:       md[MetadataVersion],
		CorrelationID: md[MetadataCorrelationID],
		CausationID:   md[MetadataCausationID],
		TraceParent:   md[MetadataTraceParent],
		TraceState:    md[MetadataTraceState],
	}
	if text := md[MetadataTime]; text != "" { // Parsing nothing makes an error.
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
			h.Time = t
		}
	}
	return h
}

// SetHeader writes h into a message's UUID and metadata. Empty members are
// left out; metadata of other names stays.
func SetHeader(msg *message.Message, h Header) {
	var clock string
	if !h.Time.IsZero() {
		clock = timeText(h.Time)
	}
	setHeader(msg, &h, clock)
}

// timeText is how a header's time travels.
func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// setHeader is SetHeader with the text of the time.
func setHeader(msg *message.Message, h *Header, clock string) {
	msg.UUID = h.ID
	if msg.Metadata == nil {
		msg.Metadata = make(message.Metadata, 8)
	}
	set := func(key, value string) {
		if value != "" {
			msg.Metadata[key] = value
		}
	}
	set(MetadataType, h.Type)
	set(MetadataOrigin, h.Origin)
	set(MetadataTime, clock)
	set(MetadataHash, h.Hash)
	set(MetadataVersion, h.Version)
	set(MetadataCorrelationID, h.CorrelationID)
	set(MetadataCausationID, h.CausationID)
	set(MetadataTraceParent, h.TraceParent)
	set(MetadataTraceState, h.TraceState)
}

// Hash returns the SHA-256 of body in lowercase hex, as [Header.Hash] holds it.
func Hash(body []byte) string {
	sum := sha256.Sum256(body)
	var text [2 * sha256.Size]byte
	return string(hextext.Append(text[:0], sum[:]))
}

// DefaultTopic names the topic of an event type: its first segment and
// "-events", so that "user.created" and "user.updated" share "user-events".
func DefaultTopic(eventType string) string {
	first, _, _ := strings.Cut(eventType, ".")
	return first + "-events"
}

// ContextWithHeader returns a context in which h is the event being handled.
// [Publisher] reads it, which is how an event published inside a handler gets its
// correlation, causation and trace.
func ContextWithHeader(ctx context.Context, h Header) context.Context {
	return context.WithValue(ctx, contextkey.Header{}, h)
}

// HeaderFromContext returns the header of the event being handled, if any. The
// contexts of the router's handlers have one: what [HeaderOf] reads of the delivery at
// the first call. A handler or middleware that changes the metadata of its message in
// place, while other goroutines may ask or publish with its context, calls it before.
func HeaderFromContext(ctx context.Context) (Header, bool) {
	switch h := ctx.Value(contextkey.Header{}).(type) {
	case Header:
		return h, true
	case interface{ ContextHeader() Header }: // the router's
		return h.ContextHeader(), true
	}
	return Header{}, false
}
