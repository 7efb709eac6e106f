package events

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Message makes the Watermill message that [Publisher.Publish] would publish,
// checked and complete with its header. Use it to publish events of several types
// in one call of a message.Publisher, or to return events from a Watermill handler.
func (p *Publisher) Message(ctx context.Context, eventType string, body any) (msg *message.Message, err error) {
	defer recoverPublish(eventType, &err)
	h, err := p.header(ctx, eventType)
	if err != nil {
		return nil, err
	}
	payload, err := p.encode(ctx, eventType, body)
	if err != nil {
		return nil, err
	}
	text, err := textOf(h.Time, payload)
	if err != nil {
		return nil, fmt.Errorf("events: publish %s: %w", eventType, err)
	}
	return newMessage(ctx, h, text[textSize:], text[:textSize], payload), nil
}

// Messages makes the messages that [PublishAll] publishes: one for each body, in
// order, as [Publisher.Message] would, for less. Give them to one call of a
// message.Publisher; [FailedOf] tells which of them its error is about. If one body
// is refused there are no messages, and the error says which one it is.
//
// The texts of up to 64 messages are one piece of memory, and so are their bodies of up
// to 512 bytes that are JSON already.
func Messages[T any](ctx context.Context, p *Publisher, eventType string, bodies []T) (msgs []*message.Message, err error) {
	defer recoverPublish(eventType, &err)
	h, err := p.header(ctx, eventType)
	if err != nil {
		return nil, err
	}
	made, clock := make([]*message.Message, 0, len(bodies)), timeText(h.Time)
	payloads := make([][]byte, 0, min(len(bodies), together))
	for rest := bodies; len(rest) > 0; rest = rest[len(payloads):] {
		payloads = payloads[:0]
		if payloads, err = encodeAll(ctx, p, eventType, rest[:min(len(rest), together)], payloads); err != nil {
			return nil, fmt.Errorf("events: bodies[%d] of %d: %w", len(made)+len(payloads), len(bodies), err)
		}
		texts, err := textsOf(payloads)
		if err != nil {
			return nil, fmt.Errorf("events: publish %s: %w", eventType, err)
		}
		for i, payload := range payloads {
			made = append(made, newMessage(ctx, h, clock, texts[i*textSize:(i+1)*textSize], payload))
		}
	}
	return made, nil
}

// header makes what the headers of one call have in common.
func (p *Publisher) header(ctx context.Context, eventType string) (h Header, err error) {
	if ctx == nil {
		return h, fmt.Errorf("events: publish %s: the context is nil: pass the handler's, or context.Background()", eventType)
	}
	if ctx.Err() != nil {
		return h, fmt.Errorf("events: publish %s: %w", eventType, context.Cause(ctx))
	}
	if err := CheckType(eventType); err != nil {
		return h, err
	}
	h = Header{
		Type:    eventType,
		Origin:  p.cfg.Origin,
		Time:    time.UnixMicro(time.Now().UnixMicro()).UTC(), // Truncate is slower.
		Version: p.cfg.Version,
	}
	if cause, ok := HeaderFromContext(ctx); ok {
		h.CausationID = cause.ID
		// Plain Watermill messages may have no correlation, or not even an id.
		h.CorrelationID = cmp.Or(cause.CorrelationID, cause.ID)
		h.TraceParent, h.TraceState = cause.TraceParent, cause.TraceState
	}
	return h, nil
}

// newMessage completes the header of a message with its own text.
func newMessage(ctx context.Context, h Header, clock, text string, payload []byte) *message.Message {
	h.ID, h.Hash = text[:idSize], text[idSize:]
	if h.CorrelationID == "" {
		h.CorrelationID = h.ID
	}
	msg := message.NewMessage(h.ID, payload)
	setHeader(msg, &h, clock)
	msg.SetContext(ctx)
	return msg
}
