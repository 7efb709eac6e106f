package middleware

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// PoisonConfig configures [PoisonQueue].
type PoisonConfig struct {
	// MaxDeliveries is how often a message is delivered before it is given up
	// without running the handler: one that kills its process, or asks for
	// another retry each time. It counts where the transport does. Zero means 25.
	MaxDeliveries int
	// Publisher and Topic are where poisoned messages go when the transport
	// has no dead letters of its own, that is, outside of our router and with
	// plain Watermill subscribers. There, the message is published and then
	// acked, which are two steps: it may be published twice.
	Publisher message.Publisher
	Topic     string
}

// PoisonQueue makes every error that reaches it final: the message goes to the
// dead letters, with the error as its reason.
//
// Exempt are errors that ask for a later retry (events.RetryAfter) or to be
// discarded, messages that are being handled elsewhere (ErrInProgress), and those
// whose delivery ends with events.ErrReleased or transport.ErrLeaseLost. With
// a transport that has dead letters (redis, memory) the move is one atomic
// step; if it cannot be done, the message stays where it was. Place it outside
// of Retry.
func PoisonQueue(cfg PoisonConfig) (message.HandlerMiddleware, error) {
	if cfg.MaxDeliveries < 0 {
		return nil, &events.ConfigError{Field: "middleware.PoisonConfig.MaxDeliveries", Value: cfg.MaxDeliveries, Problem: "is negative", Remedy: "set a number of deliveries, or 0 for 25"}
	}
	if (cfg.Publisher == nil) != (cfg.Topic == "") {
		return nil, &events.ConfigError{Field: "middleware.PoisonConfig.Topic", Value: cfg.Topic, Problem: "comes without Publisher, or Publisher without it", Remedy: "set both or neither"}
	}
	if cfg.MaxDeliveries == 0 {
		cfg.MaxDeliveries = 25
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			delivery, can := transport.DeliveryFromContext(msg.Context())
			if can.Attempts && delivery.Attempt > cfg.MaxDeliveries {
				return nil, cfg.poison(msg, delivery, can, fmt.Errorf("delivered %d times, at most %d", delivery.Attempt, cfg.MaxDeliveries))
			}
			produced, err := next(msg)
			if err == nil || exempt(msg.Context(), err) {
				return produced, err
			}
			return nil, cfg.poison(msg, delivery, can, err)
		}
	}, nil
}

func exempt(ctx context.Context, err error) bool {
	if _, later := events.RetryDelay(err); later {
		return true
	}
	cause := context.Cause(ctx)
	return events.IsDiscard(err) || errors.Is(err, ErrInProgress) ||
		errors.Is(cause, events.ErrReleased) || errors.Is(cause, transport.ErrLeaseLost)
}

func (cfg *PoisonConfig) poison(msg *message.Message, delivery *transport.Delivery, can transport.Capabilities, cause error) error {
	if can.DeadLetter {
		return events.Permanent(cause)
	}
	if cfg.Publisher == nil {
		return fmt.Errorf("poison queue: the transport has no dead letters, and PoisonConfig names no Publisher and Topic: %w", cause)
	}
	if delivery == nil {
		delivery = &transport.Delivery{Message: msg, Topic: message.SubscribeTopicFromCtx(msg.Context()), Attempt: 1}
	}
	dead := msg.Copy()
	maps.Copy(dead.Metadata, transport.FailureMetadata(delivery, cause))
	if name := message.HandlerNameFromCtx(msg.Context()); name != "" {
		dead.Metadata[transport.MetadataFailureHandler] = name
	}
	dead.SetContext(context.WithoutCancel(msg.Context()))
	if err := cfg.Publisher.Publish(cfg.Topic, dead); err != nil {
		return fmt.Errorf("poison queue: publish to %q: %w (poisoned by: %w)", cfg.Topic, err, cause)
	}
	return nil
}
