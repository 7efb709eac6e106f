package router

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// publish sends what the chain returned to the handler's publisher, in one call, or
// leaves it to the ack where that marks the event as done in the same step.
func (j *job) publish(produced []*message.Message) error {
	if len(produced) == 0 {
		return nil
	}
	h := j.handler
	if h.route.Publisher == nil {
		return errNoPublisher
	}
	out := make([]*message.Message, len(produced))
	for i, msg := range produced {
		if msg == nil {
			return fmt.Errorf("router: handler %q returned a nil message", h.pattern.text)
		}
		out[i] = j.consequence(msg)
	}
	if held := j.delivery.HeldClaim(); held != nil && held.Done && j.delivery.Publishes() {
		j.produced = &transport.Produced{Publisher: h.route.Publisher, Topic: h.route.Topic, Messages: out}
		return nil
	}
	if err := h.route.Publisher.Publish(h.route.Topic, out...); err != nil {
		return fmt.Errorf("router: publish %d messages of handler %q to %q: %w", len(out), h.pattern.text, h.route.Topic, err)
	}
	return nil
}

// consequence ties a produced message to the event that led to it.
func (j *job) consequence(msg *message.Message) *message.Message {
	incoming := j.delivery.Message
	if msg == incoming {
		// Passed on as it is. A copy, because the delivery may still be retried
		// or become a dead letter, and must not carry what is added here.
		msg = incoming.Copy()
		msg.SetContext(j.ctx)
		return msg
	}
	if msg.Metadata == nil {
		msg.Metadata = make(message.Metadata, 4)
	}
	of := events.HeaderOf(incoming)
	if of.CorrelationID == "" {
		of.CorrelationID = of.ID
	}
	fill := func(key, value string) {
		if value != "" && msg.Metadata[key] == "" {
			msg.Metadata[key] = value
		}
	}
	fill(events.MetadataCorrelationID, of.CorrelationID)
	fill(events.MetadataCausationID, of.ID)
	if msg.Metadata[events.MetadataTraceParent] == "" { // The two belong together.
		fill(events.MetadataTraceParent, of.TraceParent)
		fill(events.MetadataTraceState, of.TraceState)
	}
	if own := msg.Context(); own == context.Background() {
		msg.SetContext(j.ctx)
	} else {
		msg.SetContext(producedContext{Context: j.ctx, own: own})
	}
	return msg
}

// producedContext ends with the delivery and carries a produced message's own
// values: its own context may have ended with the handler, for instance by a
// timeout middleware, before the message is published.
type producedContext struct {
	context.Context
	own context.Context
}

func (c producedContext) Value(key any) any {
	// The delivery's context first: what the context package looks up here by
	// keys of its own must be the context that really ends.
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.own.Value(key)
}
