package middleware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// ValidationConfig configures [Validation].
type ValidationConfig struct {
	// Mode says what becomes of a body that the validator refuses. Zero means
	// events.Strict. events.Ignore makes the middleware do nothing.
	Mode events.ValidationMode
	// Logger gets the findings in Warn mode. Nil means slog.Default().
	Logger *slog.Logger
}

// Validation checks the body of each event before its handler sees it. Use it
// where events come from publishers that do not validate, or by older schemas.
//
// A refused body is a permanent failure in Strict mode, an events.Permanent
// error that wraps the *events.ValidationError: the handler does not run, Retry
// stops and PoisonQueue makes a dead letter of it. In Warn mode the findings
// are logged and the handler runs. Any other error of the validator means that
// the check itself failed: it is returned as it is, and the message retried.
//
// The event type is the metadata value events.MetadataType; a message without
// one is checked as type "", and the validator decides about it.
//
// What an events.ParsingValidator has parsed is kept in the message's context, so
// that events.Decode, and with it router.Handle, does not parse the body again.
//
// Put it inside PoisonQueue and Retry, outside Idempotency. A nil validator or
// a mode that does not exist is a *events.ConfigError.
func Validation(v events.Validator, cfg ValidationConfig) (message.HandlerMiddleware, error) {
	if nilcheck.IsNil(v) {
		return nil, configError("Validation validator", v, "is nil", "pass an events.Validator, such as package validation's registry")
	}
	if cfg.Mode < events.Strict || cfg.Mode > events.Ignore {
		return nil, configError("ValidationConfig.Mode", cfg.Mode, "is no mode", "use events.Strict, events.Warn or events.Ignore")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		if cfg.Mode == events.Ignore {
			return next
		}
		return func(msg *message.Message) ([]*message.Message, error) {
			outside := msg.Context()
			if err := validate(v, cfg, msg); err != nil {
				return nil, err
			}
			if msg.Context() != outside {
				defer msg.SetContext(outside) // Another attempt parses again.
			}
			return next(msg)
		}
	}, nil
}

func validate(v events.Validator, cfg ValidationConfig, msg *message.Message) error {
	ctx, eventType := msg.Context(), msg.Metadata[events.MetadataType]
	err := check(ctx, v, eventType, msg)
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*events.ValidationError](err)
	if !ok {
		return err
	}
	if cfg.Mode == events.Warn {
		cfg.Logger.WarnContext(ctx, "event breaks its schema and is handled all the same", "type", eventType, "event", msg.UUID, "error", invalid)
		return nil
	}
	return events.Permanent(fmt.Errorf("middleware: validation of %s %s: %w", eventType, msg.UUID, err))
}

// check asks the validator, and keeps for events.Decode what that has parsed.
func check(ctx context.Context, v events.Validator, eventType string, msg *message.Message) error {
	parsing, ok := v.(events.ParsingValidator)
	if !ok {
		return v.Validate(ctx, eventType, msg.Payload)
	}
	value, parsed, err := parsing.Parse(ctx, eventType, msg.Payload)
	if parsed && err == nil {
		msg.SetContext(events.ContextWithParsedBody(ctx, msg.Payload, value))
	}
	return err
}
