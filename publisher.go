package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
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

// PublishAll publishes an event of the given type for each body, in one call of the
// publisher beneath p: a transport stores them in one round trip, in order.
//
// If one body is refused, as by validation, nothing is published, and the error says
// which one it is. If the transport fails, an *[PublishError] lists what was not
// published; the rest was. Use [Messages] to learn of each body what became of it.
func PublishAll[T any](ctx context.Context, p *Publisher, eventType string, bodies []T) (err error) {
	defer recoverPublish(eventType, &err)
	msgs, err := Messages(ctx, p, eventType, bodies)
	if err != nil || len(msgs) == 0 {
		return err
	}
	topic := p.cfg.Topic(eventType)
	if err := p.next.Publish(topic, msgs...); err != nil {
		return fmt.Errorf("events: publish %d %s to %q: %w", len(msgs), eventType, topic, err)
	}
	return nil
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
