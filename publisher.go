package events

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/logistically/events/internal/nilcheck"
)

// DefaultMaxBodyBytes is the body size limit of a publisher that sets none.
const DefaultMaxBodyBytes = 1 << 20

// PublisherConfig configures [NewPublisher].
type PublisherConfig struct {
	// Origin is the name of this service, written into every header. Required.
	Origin string
	// Validator checks each body before it goes out. Nil means no validation.
	Validator Validator
	// Validation says what becomes of a body that the validator refuses.
	// Zero means Strict.
	Validation ValidationMode
	// Codec encodes bodies. Nil means JSON.
	Codec Codec
	// MaxBodyBytes limits the encoded body. Zero means DefaultMaxBodyBytes,
	// 1 MiB; a larger event is refused with ErrTooLarge.
	MaxBodyBytes int
	// Version is written into every header. Empty means DefaultVersion.
	Version string
	// Topic names the topic of an event type. Nil means DefaultTopic.
	Topic func(eventType string) string
	// Logger gets the findings of validation in Warn mode. Nil means slog.Default().
	Logger *slog.Logger
}

// Publisher publishes typed events over any Watermill publisher: a transport,
// a routing table (package router), a batching decorator (package batching), or
// a chain of those. It is safe for concurrent use. It owns nothing: closing
// the publisher beneath it is the caller's business.
type Publisher struct {
	next message.Publisher
	cfg  PublisherConfig
}

// NewPublisher returns a Publisher over next, or a *ConfigError.
func NewPublisher(next message.Publisher, cfg PublisherConfig) (*Publisher, error) {
	if nilcheck.IsNil(next) {
		return nil, &ConfigError{"events.NewPublisher next", next, "is nil", "pass a message.Publisher, such as redis.NewPublisher's"}
	}
	if cfg.Origin == "" {
		return nil, &ConfigError{"events.PublisherConfig.Origin", cfg.Origin, "is empty", "set it to the name of this service"}
	}
	if cfg.MaxBodyBytes < 0 {
		return nil, &ConfigError{"events.PublisherConfig.MaxBodyBytes", cfg.MaxBodyBytes, "is negative", "set it to a number of bytes, or to 0 for 1 MiB"}
	}
	if cfg.Validation < Strict || cfg.Validation > Ignore {
		return nil, &ConfigError{"events.PublisherConfig.Validation", cfg.Validation, "is no mode", "use events.Strict, events.Warn or events.Ignore"}
	}
	if cfg.Validator != nil && nilcheck.IsNil(cfg.Validator) {
		return nil, &ConfigError{"events.PublisherConfig.Validator", cfg.Validator, "is a nil pointer", "set it to a validator, or to nil for none"}
	}
	if cfg.Codec != nil && nilcheck.IsNil(cfg.Codec) {
		return nil, &ConfigError{"events.PublisherConfig.Codec", cfg.Codec, "is a nil pointer", "set it to a codec, or to nil for events.JSON"}
	}
	if cfg.Codec == nil {
		cfg.Codec = JSON
	}
	if cfg.MaxBodyBytes == 0 {
		cfg.MaxBodyBytes = DefaultMaxBodyBytes
	}
	if cfg.Version == "" {
		cfg.Version = DefaultVersion
	}
	if cfg.Topic == nil {
		cfg.Topic = DefaultTopic
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Publisher{next, cfg}, nil
}

// Publish encodes body, validates it and publishes it as one event of the
// given type. When it returns nil, what lies beneath has accepted the event:
// a transport has stored it, a buffering decorator has taken it over.
//
// Inside a handler, pass the handler's context: the event then carries the
// handled event's correlation id and trace, and its id as causation.
//
// A *ValidationError, or ErrTooLarge, means that the event was refused and
// nothing was published. A panic on the way, such as one of the body's
// MarshalJSON, is returned as a *PanicError.
func (p *Publisher) Publish(ctx context.Context, eventType string, body any) (err error) {
	defer recoverPublish(eventType, &err)
	msg, err := p.Message(ctx, eventType, body)
	if err != nil {
		return err
	}
	topic := p.cfg.Topic(eventType)
	if err := p.next.Publish(topic, msg); err != nil {
		return fmt.Errorf("events: publish %s %s to %q: %w", eventType, msg.UUID, topic, err)
	}
	return nil
}

// Message makes the Watermill message that [Publisher.Publish] would publish,
// checked and complete with its header. Use it to publish many events in one
// call of a message.Publisher, or to return events from a Watermill handler.
func (p *Publisher) Message(ctx context.Context, eventType string, body any) (msg *message.Message, err error) {
	defer recoverPublish(eventType, &err)
	if ctx == nil {
		return nil, fmt.Errorf("events: publish %s: the context is nil: pass the handler's, or context.Background()", eventType)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("events: publish %s: %w", eventType, context.Cause(ctx))
	}
	if err := CheckType(eventType); err != nil {
		return nil, err
	}
	payload, err := p.cfg.Codec.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("events: encode %s: %w", eventType, err)
	}
	if len(payload) > p.cfg.MaxBodyBytes {
		return nil, fmt.Errorf("events: publish %s: %w: %d bytes, at most %d: publish a reference to the data, or raise PublisherConfig.MaxBodyBytes", eventType, ErrTooLarge, len(payload), p.cfg.MaxBodyBytes)
	}
	if err := p.validate(ctx, eventType, payload); err != nil {
		return nil, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("events: publish %s: make an id: %w", eventType, err)
	}
	text, hash := textOf(id, payload)
	h := Header{
		ID:      text,
		Type:    eventType,
		Origin:  p.cfg.Origin,
		Time:    time.Now().UTC().Truncate(time.Microsecond),
		Hash:    hash,
		Version: p.cfg.Version,
	}
	h.CorrelationID = h.ID
	if cause, ok := HeaderFromContext(ctx); ok {
		h.CausationID = cause.ID
		// Plain Watermill messages may have no correlation, or not even an id.
		h.CorrelationID = cmp.Or(cause.CorrelationID, cause.ID, h.ID)
		h.TraceParent, h.TraceState = cause.TraceParent, cause.TraceState
	}
	msg = message.NewMessage(h.ID, payload)
	SetHeader(msg, h)
	msg.SetContext(ctx)
	return msg, nil
}

// textOf returns an id, and the hash of a body as [Hash] does, in one allocation.
func textOf(id uuid.UUID, body []byte) (text, hash string) {
	const dashes = 4
	var b [2*len(id) + dashes + 2*sha256.Size]byte
	at := 0
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			b[at] = '-'
			at++
		}
		at += hex.Encode(b[at:], part)
	}
	sum := sha256.Sum256(body)
	hex.Encode(b[at:], sum[:])
	both := string(b[:])
	return both[:at], both[at:]
}

// recoverPublish makes a panic of somebody else's code (a codec, a validator,
// PublisherConfig.Topic, the publisher beneath) an error of the call that defers it.
func recoverPublish(eventType string, err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("events: publish %s: %w", eventType, &PanicError{Value: v, Stack: debug.Stack()})
	}
}

func (p *Publisher) validate(ctx context.Context, eventType string, payload []byte) error {
	if p.cfg.Validator == nil || p.cfg.Validation == Ignore {
		return nil
	}
	err := p.cfg.Validator.Validate(ctx, eventType, payload)
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*ValidationError](err)
	if !ok {
		return fmt.Errorf("events: validate %s: %w", eventType, err)
	}
	if p.cfg.Validation == Warn {
		p.cfg.Logger.WarnContext(ctx, "event breaks its schema and is published all the same", "type", eventType, "error", invalid)
		return nil
	}
	return fmt.Errorf("events: publish refused: %w", err)
}

// CheckType returns an error if eventType is not a name of one or more
// dot-separated segments without spaces or wildcards.
func CheckType(eventType string) error {
	switch {
	case eventType == "":
		return errors.New(`events: the event type is empty: name what happened, such as "user.created"`)
	case strings.ContainsAny(eventType, " \t\r\n*"):
		return fmt.Errorf("events: event type %q holds a space or a wildcard: use segments of other characters, separated by dots", eventType)
	case strings.HasPrefix(eventType, ".") || strings.HasSuffix(eventType, ".") || strings.Contains(eventType, ".."):
		return fmt.Errorf("events: event type %q has an empty segment: separate non-empty segments by single dots", eventType)
	}
	return nil
}
