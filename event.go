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
// [JSON]. What validation has parsed already is not parsed again (see
// [ContextWithParsedBody]). The error, if any, is [Permanent]: the same bytes will not decode
// better at another attempt.
func Decode[T any](msg *message.Message, codec Codec) (Event[T], error) {
	if codec == nil {
		codec = JSON
	}
	ev := Event[T]{Header: HeaderOf(msg)}
	if _, ok := codec.(jsonCodec); ok {
		if decodeParsed(msg.Context(), msg.Payload, &ev.Body) {
			return ev, nil
		}
		ev = Event[T]{Header: ev.Header}
	}
	if err := codec.Unmarshal(msg.Payload, &ev.Body); err != nil {
		return ev, Permanent(fmt.Errorf("events: decode %s %s into %T: %w (does the handler's type match what is published?)", ev.Type, ev.ID, ev.Body, err))
	}
	return ev, nil
}
