package middleware

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// ValidationConfig configures [Validation].
type ValidationConfig struct {
	// Mode says what becomes of a body that the validator refuses. Zero means
	// events.Strict.
	Mode events.ValidationMode
	// Logger gets the findings in Warn mode. Nil means slog.Default().
	Logger *slog.Logger
}

// Validation checks bodies before the handler runs. The event type is that of
// the header.
//
// In Strict mode an invalid body is a permanent error, an
// *events.ValidationError; the handler does not run. A validator that fails to
// do its check is an ordinary error: the message is tried again. Place it inside
// of PoisonQueue.
func Validation(v events.Validator, cfg ValidationConfig) (message.HandlerMiddleware, error) {
	if v == nil {
		return nil, &events.ConfigError{Field: "middleware.Validation validator", Value: nil, Problem: "is nil", Remedy: "pass a validator, such as validation.NewRegistry's"}
	}
	if cfg.Mode < events.Strict || cfg.Mode > events.Ignore {
		return nil, &events.ConfigError{Field: "middleware.ValidationConfig.Mode", Value: cfg.Mode, Problem: "is no mode", Remedy: "use events.Strict, events.Warn or events.Ignore"}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		if cfg.Mode == events.Ignore {
			return next
		}
		return func(msg *message.Message) ([]*message.Message, error) {
			eventType := msg.Metadata[events.MetadataType]
			err := v.Validate(msg.Context(), eventType, msg.Payload)
			if err == nil {
				return next(msg)
			}
			if _, invalid := errors.AsType[*events.ValidationError](err); !invalid {
				return nil, fmt.Errorf("validate %s %s: %w", eventType, msg.UUID, err)
			}
			if cfg.Mode == events.Strict {
				return nil, events.Permanent(err)
			}
			cfg.Logger.WarnContext(msg.Context(), "event breaks its schema and is handled all the same", "type", eventType, "event", msg.UUID, "error", err)
			return next(msg)
		}
	}, nil
}
