package middleware

import (
	"fmt"
	"maps"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// Upcast brings the bodies of old events to the version that the handlers were
// built for, so that a handler, and the schema that Validation checks, know that
// version only. Events of types without steps pass through as they are.
//
// What is inside sees the new body and version; what is outside gets back the
// message as it came, so that a dead letter is the event that was published, and
// a retry begins from that. The header's hash stays that of the original.
//
// A body that cannot be brought there, because a step is missing or fails, is a
// permanent failure: Retry stops and PoisonQueue makes a dead letter of it that
// says which step. Put it inside PoisonQueue and Retry and outside Validation. A
// nil upcaster is a *events.ConfigError.
func Upcast(u events.Upcaster) (message.HandlerMiddleware, error) {
	if nilcheck.IsNil(u) {
		return nil, configError("Upcast upcaster", u, "is nil", "pass an events.Upcaster, such as package validation's registry")
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			version := msg.Metadata[events.MetadataVersion]
			body, newest, err := u.Upcast(msg.Context(), msg.Metadata[events.MetadataType], version, msg.Payload)
			if err != nil {
				return nil, fmt.Errorf("middleware: upcast of %s: %w", msg.UUID, err)
			}
			if newest == version {
				return next(msg)
			}
			payload, metadata := msg.Payload, msg.Metadata
			defer func() { msg.Payload, msg.Metadata = payload, metadata }()
			// A copy, for somebody outside may hold the map.
			if msg.Metadata = maps.Clone(metadata); msg.Metadata == nil {
				msg.Metadata = message.Metadata{}
			}
			msg.Payload = body
			msg.Metadata[events.MetadataVersion] = newest
			return next(msg)
		}
	}, nil
}
