package redis

import (
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/vmihailenco/msgpack/v5"
)

// Fields of an entry: those that watermill-redisstream writes, and ours on
// entries that have moved to a group's retry stream.
const (
	fieldUUID     = "_watermill_message_uuid"
	fieldMetadata = "metadata" // msgpack map, or empty
	fieldPayload  = "payload"

	fieldAttempt = "_events_attempt" // of the next delivery
	fieldOrigin  = "_events_id"      // where the entry was first stored
	fieldStored  = "_events_stored"  // when, in Unix milliseconds
)

// Encode returns the fields and values of a message's stream entry, in
// watermill-redisstream's format.
func Encode(msg *message.Message) ([]any, error) {
	if msg == nil {
		return nil, errors.New("the message is nil")
	}
	if msg.Metadata[fieldUUID] != "" {
		return nil, fmt.Errorf("metadata key %s is reserved", fieldUUID)
	}
	var metadata []byte
	if len(msg.Metadata) > 0 {
		var err error
		if metadata, err = msgpack.Marshal(map[string]string(msg.Metadata)); err != nil {
			return nil, fmt.Errorf("encode metadata: %w", err)
		}
	}
	return []any{fieldUUID, msg.UUID, fieldMetadata, metadata, fieldPayload, []byte(msg.Payload)}, nil
}

// Decode reads the message of a stream entry, such as a dead letter.
func Decode(values map[string]any) (*message.Message, error) {
	uuid, ok := values[fieldUUID].(string)
	if !ok {
		return nil, fmt.Errorf("not a message: the entry has no field %s", fieldUUID)
	}
	payload, _ := values[fieldPayload].(string)
	msg := message.NewMessage(uuid, []byte(payload))
	if raw, _ := values[fieldMetadata].(string); raw != "" {
		var metadata map[string]string
		if err := msgpack.Unmarshal([]byte(raw), &metadata); err != nil {
			return nil, fmt.Errorf("not a message: its metadata is no msgpack map of strings: %w", err)
		}
		if metadata != nil {
			msg.Metadata = metadata
		}
	}
	return msg, nil
}
