package middleware

import (
	"context"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// LoggingConfig configures [Logging].
type LoggingConfig struct {
	// Logger gets one record for each message. Nil means slog.Default(), at the time
	// of construction.
	Logger *slog.Logger
	// Level is that of messages that were handled. Zero means slog.LevelInfo. Those that
	// failed are warnings, those given up errors.
	Level slog.Level
	// Body returns what of a body may be logged; it must be safe for concurrent use. Nil
	// means nothing of it, but its size.
	Body func(msg *message.Message) string
}

// Logging logs what became of each message, when its handler has returned: event type,
// id, correlation, topic, attempt, size, how long it took, the outcome as in
// [Metrics], and the error. Bodies and metadata are left out; an error may quote a
// body all the same, if whoever made it did.
//
// Put it outside PoisonQueue and Retry for one record a delivery, or inside Retry for
// one an attempt. It changes nothing about the message, and errors and panics pass through.
// A level that is not logged costs next to nothing. There is no wrong configuration.
//
//go:noinline
func Logging(cfg LoggingConfig) message.HandlerMiddleware {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) (produced []*message.Message, err error) {
			ctx, begun, returned := msg.Context(), time.Now(), false
			defer func() {
				result := outcomeOf(ctx, err)
				if !returned {
					result = outcomePanic
				}
				cfg.log(ctx, msg, time.Since(begun), result, err)
			}()
			produced, err = next(msg)
			returned = true
			return produced, err
		}
	}
}

func (c *LoggingConfig) log(ctx context.Context, msg *message.Message, took time.Duration, result outcome, err error) {
	level, text := c.Level, "event handled"
	switch result {
	case outcomeAck, outcomeDiscard:
	case outcomeDeadLetter, outcomePanic:
		level, text = slog.LevelError, "event given up"
	case outcomeSnooze, outcomeRelease, outcomeLost:
		text = "event put off"
	default:
		level, text = slog.LevelWarn, "event failed"
	}
	if result == outcomePanic {
		text = "event's handler panicked"
	}
	if !c.Logger.Enabled(ctx, level) {
		return
	}
	topic, attempt := message.SubscribeTopicFromCtx(ctx), 0
	if d, can := transport.DeliveryFromContext(ctx); d != nil {
		topic = d.Topic
		if can.Attempts {
			attempt = d.Attempt
		}
	}
	attrs := append(make([]slog.Attr, 0, 10),
		slog.String("type", msg.Metadata[events.MetadataType]), slog.String("event", msg.UUID),
		slog.String("topic", topic), slog.Int("bytes", len(msg.Payload)),
		slog.Duration("took", took), slog.String("outcome", string(result)))
	if id := msg.Metadata[events.MetadataCorrelationID]; id != "" {
		attrs = append(attrs, slog.String("correlation", id))
	}
	if attempt > 0 {
		attrs = append(attrs, slog.Int("attempt", attempt))
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	if c.Body != nil {
		attrs = append(attrs, slog.String("body", c.Body(msg)))
	}
	c.Logger.LogAttrs(ctx, level, text, attrs...)
}
