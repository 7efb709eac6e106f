package middleware

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

// storedMessage is a produced message as it is kept with a mark.
type storedMessage struct {
	UUID     string            `json:"id"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Payload  []byte            `json:"payload,omitempty"`
}

var errNilProduced = errors.New("middleware: idempotency: the handler returned a nil message: return none, or make one with message.NewMessage")

// packProduced makes of produced messages what a store keeps with the mark; nil of none.
func packProduced(msgs []*message.Message) ([]byte, error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	stored := make([]storedMessage, len(msgs))
	for i, msg := range msgs {
		if msg == nil {
			return nil, errNilProduced
		}
		stored[i] = storedMessage{msg.UUID, msg.Metadata, msg.Payload}
	}
	return json.Marshal(stored)
}

// unpackProduced makes the messages again, with the ids that they had.
func unpackProduced(packed []byte) ([]*message.Message, error) {
	if len(packed) == 0 {
		return nil, nil
	}
	var stored []storedMessage
	if err := json.Unmarshal(packed, &stored); err != nil {
		return nil, fmt.Errorf("middleware: idempotency: what was stored with the mark is not readable: %w", err)
	}
	msgs := make([]*message.Message, len(stored))
	for i, s := range stored {
		msgs[i] = message.NewMessage(s.UUID, s.Payload)
		for k, v := range s.Metadata {
			msgs[i].Metadata[k] = v
		}
	}
	return msgs, nil
}
