package console

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
)

// record is one line of the JSON format. What is read from it is, byte for byte,
// what was written: it is where a service saves what it could not publish.
type record struct {
	Topic    string            `json:"topic"`
	ID       string            `json:"id"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Binary   *binary           `json:"binary,omitempty"`
	Body     json.RawMessage   `json:"body,omitempty"`
	Raw      []byte            `json:"raw,omitzero"` // An empty body is there, too.
}

// binary has what of a record JSON cannot hold, as it is not UTF-8.
type binary struct {
	Topic    []byte      `json:"topic,omitempty"`
	ID       []byte      `json:"id,omitempty"`
	Metadata [][2][]byte `json:"metadata,omitempty"` // key and value
}

func newRecord(topic string, msg *message.Message) record {
	r := record{Topic: topic, ID: msg.UUID, Metadata: msg.Metadata, Raw: append([]byte{}, msg.Payload...)}
	// Only a body that is written just as it is may go in as JSON: its hash counts.
	var compact bytes.Buffer
	if utf8.Valid(msg.Payload) && !bytes.ContainsFunc(msg.Payload, unicode.IsControl) &&
		json.Compact(&compact, msg.Payload) == nil && bytes.Equal(compact.Bytes(), msg.Payload) {
		r.Body, r.Raw = json.RawMessage(msg.Payload), nil
	}
	r.separate()
	return r
}

// separate moves what is not UTF-8 to Binary.
func (r *record) separate() {
	var b binary
	if !utf8.ValidString(r.Topic) {
		b.Topic, r.Topic = []byte(r.Topic), ""
	}
	if !utf8.ValidString(r.ID) {
		b.ID, r.ID = []byte(r.ID), ""
	}
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		if value := r.Metadata[key]; !utf8.ValidString(key) || !utf8.ValidString(value) {
			if b.Metadata == nil {
				r.Metadata = maps.Clone(r.Metadata)
			}
			b.Metadata = append(b.Metadata, [2][]byte{[]byte(key), []byte(value)})
			delete(r.Metadata, key)
		}
	}
	if b.Topic != nil || b.ID != nil || b.Metadata != nil {
		r.Binary = &b
	}
}

// line returns the record as it is written. Control characters, which JSON allows
// from U+007F on, would reach the terminal.
func (r record) line() ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return nil, err
	}
	return escape(text.Bytes(), func(c rune) bool { return c == '\n' || !unicode.IsControl(c) }), nil
}

func (r record) topic() string {
	if r.Binary != nil && r.Binary.Topic != nil {
		return string(r.Binary.Topic)
	}
	return r.Topic
}

// message returns the message that the record was made of.
func (r record) message() *message.Message {
	payload := []byte(r.Body)
	if r.Body == nil {
		payload = r.Raw
	}
	msg := message.NewMessage(r.ID, payload)
	maps.Copy(msg.Metadata, r.Metadata)
	if b := r.Binary; b != nil {
		if b.ID != nil {
			msg.UUID = string(b.ID)
		}
		for _, pair := range b.Metadata {
			msg.Metadata[string(pair[0])] = string(pair[1])
		}
	}
	return msg
}
