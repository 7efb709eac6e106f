// Package cloudevents writes events as CloudEvents 1.0 and reads them, for
// services that speak that format. It knows both content modes:
//
//   - [Structured]: the payload is a JSON envelope with attributes and data.
//   - [Binary]: the payload is the data; the attributes are metadata whose names
//     begin with ce_, as in the Kafka binding.
//
// The header's members travel as these attributes: ID, Type and Time as id, type
// and time, Origin as source, the others as extensions (correlationid,
// causationid, traceparent, tracestate, bodyversion, bodyhash). Attributes that
// the header has no place for, such as subject, are metadata with the prefix ce_ on
// this side, and attributes again when the message is written.
package cloudevents

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// Mode is one of the two content modes.
type Mode int

const (
	// Structured puts everything into the payload. It is the zero value.
	Structured Mode = iota
	// Binary leaves the payload as it is.
	Binary
)

const (
	// MetadataContentType is the metadata key by which events are recognised in
	// structured mode, where it is [ContentType], and that has the type of the
	// data in binary mode.
	MetadataContentType = "content-type"
	// ContentType is the media type of structured events.
	ContentType = "application/cloudevents+json"
	// Prefix begins the metadata keys of attributes.
	Prefix = "ce_"
)

const jsonType = "application/json"

// ErrInvalid says that a message is no valid CloudEvent, or cannot become one.
var ErrInvalid = errors.New("no valid CloudEvent")

func invalid(msg *message.Message, format string, args ...any) error {
	return fmt.Errorf("cloudevents: message %s: %w: %s", msg.UUID, ErrInvalid, fmt.Sprintf(format, args...))
}

// extensions are the attributes of the header's members, except those that every
// event has.
var extensions = map[string]string{
	"correlationid": events.MetadataCorrelationID,
	"causationid":   events.MetadataCausationID,
	"traceparent":   events.MetadataTraceParent,
	"tracestate":    events.MetadataTraceState,
	"bodyversion":   events.MetadataVersion,
	"bodyhash":      events.MetadataHash,
}

// Encode returns a copy of a message as a CloudEvent. Metadata stays, so that
// routers of this library still find the handler. The message needs what
// events.Publisher gives it: a UUID, a type, and an origin that is a URI
// reference ("user-service" is one). The error wraps ErrInvalid.
func Encode(msg *message.Message, mode Mode) (*message.Message, error) {
	attributes, err := attributesOf(msg)
	if err != nil {
		return nil, err
	}
	out := msg.Copy()
	out.SetContext(msg.Context())
	if out.Metadata == nil {
		out.Metadata = message.Metadata{}
	}
	switch mode {
	case Structured:
		if out.Payload, err = envelope(msg, attributes); err != nil {
			return nil, err
		}
		for name := range attributes {
			delete(out.Metadata, Prefix+name)
		}
		out.Metadata[MetadataContentType] = ContentType + "; charset=UTF-8"
	case Binary:
		out.Metadata[MetadataContentType] = attributes["datacontenttype"]
		delete(attributes, "datacontenttype")
		for name, value := range attributes {
			out.Metadata[Prefix+name] = value
		}
	default:
		return nil, &events.ConfigError{Field: "cloudevents.Encode mode", Value: mode, Problem: "is no mode", Remedy: "use cloudevents.Structured or cloudevents.Binary"}
	}
	return out, nil
}

// attributesOf returns the attributes of a message, all as text.
func attributesOf(msg *message.Message) (map[string]string, error) {
	h := events.HeaderOf(msg)
	for name, value := range map[string]string{"UUID": h.ID, "event type": h.Type, "origin": h.Origin} {
		if value == "" {
			return nil, invalid(msg, "it has no %s: publish it by an events.Publisher", name)
		}
	}
	if _, err := url.Parse(h.Origin); err != nil {
		return nil, invalid(msg, "its origin %q is no URI reference", h.Origin)
	}
	a := map[string]string{}
	for key, value := range msg.Metadata {
		if name, ok := strings.CutPrefix(key, Prefix); ok && value != "" {
			if !isName(name) {
				return nil, invalid(msg, "metadata %q: an attribute's name is of lower-case letters and digits", key)
			}
			a[name] = value
		}
	}
	for name, key := range extensions {
		if value := msg.Metadata[key]; value != "" {
			a[name] = value
		}
	}
	a["specversion"], a["id"], a["type"], a["source"] = "1.0", h.ID, h.Type, h.Origin
	if !h.Time.IsZero() {
		a["time"] = h.Time.UTC().Format(time.RFC3339Nano)
	}
	if a["datacontenttype"] == "" {
		a["datacontenttype"] = jsonType
	}
	return a, nil
}

func isName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9') })
}

// Is reports whether a message is a CloudEvent in one of the two modes.
func Is(msg *message.Message) bool {
	return isStructured(msg) || msg.Metadata[Prefix+"specversion"] != ""
}

func isStructured(msg *message.Message) bool {
	mediaType, _, _ := strings.Cut(msg.Metadata[MetadataContentType], ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), ContentType)
}

// Decode returns a copy of a CloudEvent as a message of this library: header in
// metadata, data as payload. Check with [Is] first: what is no CloudEvent is an
// error. The error wraps ErrInvalid, and is permanent.
func Decode(msg *message.Message) (*message.Message, error) {
	out := msg.Copy()
	out.SetContext(msg.Context())
	attributes := map[string]string{}
	if isStructured(msg) {
		data, err := open(msg, attributes)
		if err != nil {
			return nil, events.Permanent(err)
		}
		out.Payload = data
	} else {
		for key, value := range msg.Metadata {
			if name, ok := strings.CutPrefix(key, Prefix); ok {
				attributes[name] = value
			}
		}
	}
	if attributes["specversion"] != "1.0" {
		return nil, events.Permanent(invalid(msg, "its specversion is %q, not 1.0", attributes["specversion"]))
	}
	for _, name := range []string{"id", "source", "type"} {
		if attributes[name] == "" {
			return nil, events.Permanent(invalid(msg, "it has no %s", name))
		}
	}
	h := events.Header{ID: attributes["id"], Type: attributes["type"], Origin: attributes["source"]}
	if text := attributes["time"]; text != "" {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, events.Permanent(invalid(msg, "its time %q is no RFC 3339 time", text))
		}
		h.Time = at
	}
	maps.DeleteFunc(out.Metadata, func(key, _ string) bool { return strings.HasPrefix(key, Prefix) || key == MetadataContentType })
	if out.Metadata == nil {
		out.Metadata = message.Metadata{}
	}
	for name, value := range attributes {
		switch name {
		case "specversion", "id", "source", "type", "time":
		case "datacontenttype":
			if value != jsonType {
				out.Metadata[Prefix+name] = value
			}
		default:
			if key := extensions[name]; key != "" {
				out.Metadata[key] = value
			} else {
				out.Metadata[Prefix+name] = value
			}
		}
	}
	events.SetHeader(out, h)
	return out, nil
}

// Read is a message.HandlerMiddleware that decodes CloudEvents for what is
// inside, and lets other messages through. A broken one is a permanent failure.
//
// A router finds the handler by the event type in the metadata. Messages of
// [Publisher] have it; for those of others, register the handler for their topic,
// by whose name messages without a type are dispatched.
func Read(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if !Is(msg) {
			return next(msg)
		}
		decoded, err := Decode(msg)
		if err != nil {
			return nil, err
		}
		return next(decoded)
	}
}

// Publisher is a message.Publisher that writes CloudEvents. Make it with [NewPublisher].
type Publisher struct {
	next message.Publisher
	mode Mode
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a Publisher over next, or a *events.ConfigError.
func NewPublisher(next message.Publisher, mode Mode) (*Publisher, error) {
	if nilcheck.IsNil(next) {
		return nil, &events.ConfigError{Field: "cloudevents.NewPublisher next", Value: next, Problem: "is nil", Remedy: "pass a message.Publisher, such as redis.NewPublisher's"}
	}
	if mode < Structured || mode > Binary {
		return nil, &events.ConfigError{Field: "cloudevents.NewPublisher mode", Value: mode, Problem: "is no mode", Remedy: "use cloudevents.Structured or cloudevents.Binary"}
	}
	return &Publisher{next, mode}, nil
}

// Publish implements message.Publisher: all messages are written in one call of
// the publisher beneath, or none if one of them cannot be.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	out := make([]*message.Message, len(messages))
	for i, msg := range messages {
		var err error
		if out[i], err = Encode(msg, p.mode); err != nil {
			return err
		}
	}
	return p.next.Publish(topic, out...)
}

// Close closes the publisher beneath.
func (p *Publisher) Close() error { return p.next.Close() }
