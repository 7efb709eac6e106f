package redis

import (
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Fields of an entry: those that watermill-redisstream writes, and ours on
// entries that have moved to a group's retry stream.
const (
	fieldUUID     = "_watermill_message_uuid"
	fieldMetadata = "metadata" // MessagePack map, or empty
	fieldPayload  = "payload"

	// fieldPacked is the only field of an entry that carries many messages; see
	// package pack. Who does not know it misses the UUID, and says so.
	fieldPacked = "_events_packed"

	fieldAttempt = "_events_attempt" // of the next delivery
	fieldOrigin  = "_events_id"      // where the entry was first stored
	fieldStored  = "_events_stored"  // when, in Unix milliseconds
	fieldRaw     = "_events_raw"     // of a dead letter: the fields of an entry that has too many
)

// Encode returns the fields and values of a message's stream entry, in
// watermill-redisstream's format.
func Encode(msg *message.Message) ([]any, error) {
	if err := check(msg); err != nil {
		return nil, err
	}
	return encode(msg.UUID, msg.Metadata, msg.Payload), nil
}

// check returns an error if a message cannot be an entry.
func check(msg *message.Message) error {
	if msg == nil {
		return errors.New("the message is nil")
	}
	if msg.Metadata[fieldUUID] != "" {
		return fmt.Errorf("metadata key %s is reserved", fieldUUID)
	}
	return nil
}

func encode(uuid string, metadata message.Metadata, payload message.Payload) []any {
	var packed []byte
	if len(metadata) > 0 {
		packed = appendMetadata(make([]byte, 0, metadataSize(metadata)), metadata)
	}
	return []any{fieldUUID, uuid, fieldMetadata, packed, fieldPayload, []byte(payload)}
}

// Decode reads the message of a stream entry in any format, such as a dead letter. The
// error wraps one of ErrUnknownFormat and its neighbours. One that carries many is for
// [DecodeAll].
func Decode(values map[string]any) (*message.Message, error) {
	f := fieldsOf(values)
	msg := message.NewMessage("", nil)
	if err := decode(msg, f, []byte(f.payload)); err != nil {
		return nil, err
	}
	return msg, nil
}

// fieldsOf reads the fields of an entry as go-redis returns it.
func fieldsOf(values map[string]any) (f fields) {
	for name, value := range values {
		if s, ok := value.(string); ok {
			f.set(name, s)
		}
	}
	f.open(EnvelopePolicy{})
	return f
}

// fields are the values of an entry that mean something to us.
type fields struct {
	uuid, metadata, payload string
	attempt, origin, stored string
	packed                  string
	hasUUID                 bool
	envelope                *envelope // of an entry that may be one; see open
}

// set takes one field's value.
func (f *fields) set(name, value string) {
	switch name {
	case fieldUUID:
		f.uuid, f.hasUUID = value, true
	case fieldMetadata:
		f.metadata = value
	case fieldPayload:
		f.payload = value
	case fieldAttempt:
		f.attempt = value
	case fieldOrigin:
		f.origin = value
	case fieldStored:
		f.stored = value
	case fieldPacked:
		f.packed = value
	case fieldData, fieldMore:
		f.setEnvelope(name, value)
	}
}

// decode sets what a message consists of. The payload is the handler's to change,
// and so not a part of the string that the fields are parts of.
func decode(msg *message.Message, f fields, payload []byte) (err error) {
	if !f.hasUUID {
		if f.envelope != nil {
			return f.envelope.decode(msg, payload)
		}
		if f.packed != "" {
			return errMany
		}
		return errUnknown
	}
	msg.UUID, msg.Payload = f.uuid, payload
	if f.metadata == "" {
		msg.Metadata = message.Metadata{}
		return nil
	}
	if msg.Metadata, err = readMetadata(f.metadata); err != nil {
		return fmt.Errorf("not a message: its metadata is %w", err)
	}
	return nil
}
