package middleware

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// Correlation ties what a handler publishes to the event that it handles: the same
// correlation id, which is the event's own id if it has none, and the event's id as
// causation. It does so for what events.Publisher publishes with the message's context,
// and for messages that the handler returns, where they have no ids of their own.
//
// It is for Watermill's router. Package router does the same by itself; there it changes
// nothing. Put it anywhere; outside Logging, for that to see the id. It has no
// configuration and cannot fail.
//
//go:noinline
func Correlation() message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			outside := msg.Context()
			if _, ok := events.HeaderFromContext(outside); ok {
				return next(msg) // by package router
			}
			h := events.HeaderOf(msg)
			if h.CorrelationID == "" {
				h.CorrelationID = h.ID
			}
			msg.SetContext(events.ContextWithHeader(outside, h))
			defer msg.SetContext(outside)
			produced, err := next(msg)
			for _, p := range produced {
				if p != nil && p != msg {
					correlate(p, h, msg.Context())
				}
			}
			return produced, err
		}
	}
}

func correlate(produced *message.Message, of events.Header, ctx context.Context) {
	if produced.Metadata == nil {
		produced.Metadata = make(message.Metadata, 2)
	}
	if produced.Metadata[events.MetadataCorrelationID] == "" {
		produced.Metadata[events.MetadataCorrelationID] = of.CorrelationID
	}
	if produced.Metadata[events.MetadataCausationID] == "" {
		produced.Metadata[events.MetadataCausationID] = of.ID
	}
	if produced.Context() == context.Background() {
		produced.SetContext(ctx)
	}
}
