// Package packed keeps messages as bytes, for stores that give them back later as
// they were.
package packed

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

type stored struct {
	UUID     string            `json:"id"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Payload  []byte            `json:"payload,omitempty"`
}

var errNil = errors.New("a message is nil: return none, or make one with message.NewMessage")

// Pack returns the bytes of messages; nil of none.
func Pack(msgs []*message.Message) ([]byte, error) {
	if len(msgs) == 0 {
		return nil, nil
	}
	all := make([]stored, len(msgs))
	for i, msg := range msgs {
		if msg == nil {
			return nil, errNil
		}
		all[i] = stored{msg.UUID, msg.Metadata, msg.Payload}
	}
	return json.Marshal(all)
}

// Unpack returns the messages that were packed, with the ids that they had.
func Unpack(b []byte) ([]*message.Message, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var all []stored
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("packed messages are not readable: %w", err)
	}
	msgs := make([]*message.Message, len(all))
	for i, s := range all {
		msgs[i] = message.NewMessage(s.UUID, s.Payload)
		for k, v := range s.Metadata {
			msgs[i].Metadata[k] = v
		}
	}
	return msgs, nil
}
