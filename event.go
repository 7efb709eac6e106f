package events

import (
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Event is one event with its body decoded into T.
type Event[T any] struct {
	Header
	Body T
}

// Decode reads a message as an event whose body is a T. A nil codec means
// [JSON], whose result is that of encoding/json. What validation has parsed already is
// not parsed again (see [ContextWithParsedBody]). The error, if any, is [Permanent]: the same bytes will not decode
// better at another attempt.
func Decode[T any](msg *message.Message, codec Codec) (Event[T], error) {
	if codec == nil {
		codec = JSON
	}
	// Only the body is given to somebody who may keep it, and so has to be allocated.
	h, body := HeaderOf(msg), new(T)
	if _, ok := codec.(jsonCodec); ok {
		if decodeParsed(msg.Context(), msg.Payload, body) {
			return Event[T]{h, *body}, nil
		}
		*body = *new(T)
		if decodeText(msg.Payload, body) {
			return Event[T]{h, *body}, nil
		}
		*body = *new(T)
	}
	if err := codec.Unmarshal(msg.Payload, body); err != nil {
		return Event[T]{h, *body}, Permanent(fmt.Errorf("events: decode %s %s into %T: %w (does the handler's type match what is published?)", h.Type, h.ID, *body, err))
	}
	return Event[T]{h, *body}, nil
}
