package events

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
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
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("events: publish %s: make an id: %w", eventType, err)
	}
	var room [textSize]byte
	return newMessage(ctx, h, timeText(h.Time), string(appendText(room[:0], id, payload)), payload), nil
}

// Messages makes the messages that [PublishAll] publishes: one for each body, in
// order, as [Publisher.Message] would, for less. Give them to one call of a
// message.Publisher; [FailedOf] tells which of them its error is about. If one body
// is refused there are no messages, and the error says which one it is.
//
// The texts of up to 64 messages are one piece of memory.
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
		for i, body := range rest[:min(len(rest), together)] {
			payload, err := p.encode(ctx, eventType, body)
			if err != nil {
				return nil, fmt.Errorf("events: bodies[%d] of %d: %w", len(made)+i, len(bodies), err)
			}
			payloads = append(payloads, payload)
		}
		texts, err := textsOf(payloads)
		if err != nil {
			return nil, fmt.Errorf("events: publish %s: make an id: %w", eventType, err)
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
		Time:    time.Now().UTC().Truncate(time.Microsecond),
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

// encode returns the bytes of a body that may be published.
func (p *Publisher) encode(ctx context.Context, eventType string, body any) ([]byte, error) {
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
	return payload, nil
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

// The text of a message is its id and its hash.
const (
	idSize   = 36
	textSize = idSize + 2*sha256.Size
)

// appendText appends an id, and the hash of a body as [Hash] has it.
func appendText(b []byte, id uuid.UUID, body []byte) []byte {
	b = hex.AppendEncode(b, id[:4])
	for _, part := range [...][]byte{id[4:6], id[6:8], id[8:10], id[10:]} {
		b = hex.AppendEncode(append(b, '-'), part)
	}
	sum := sha256.Sum256(body)
	return hex.AppendEncode(b, sum[:])
}

// together is of how many messages the texts are made together.
const together = 64

// textsOf makes the texts of messages with such bodies, one after the other.
func textsOf(bodies [][]byte) (string, error) {
	var entropy [together * len(uuid.UUID{})]byte
	random := bytes.NewReader(entropy[:len(bodies)*len(uuid.UUID{})])
	if _, err := io.ReadFull(rand.Reader, entropy[:random.Len()]); err != nil {
		return "", err
	}
	var room [together * textSize]byte
	texts := room[:0]
	for _, body := range bodies {
		id, err := uuid.NewV7FromReader(random)
		if err != nil {
			return "", err
		}
		texts = appendText(texts, id, body)
	}
	return string(texts), nil
}
