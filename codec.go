package events

import (
	"bytes"
	"encoding/json"

	"github.com/logistically/events/internal/jsontext"
)

// Codec turns an event's body into bytes and back. Implementations must be
// safe for concurrent use and must not keep the slices they are given.
type Codec interface {
	Marshal(body any) ([]byte, error)
	Unmarshal(data []byte, body any) error
}

// JSON is the default codec: encoding/json without HTML escaping. A body that
// is already a json.RawMessage or a []byte goes out as it is, provided that it
// is valid JSON.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Marshal(body any) ([]byte, error) {
	if raw, ok := rawOf(body); ok {
		if err := checkJSON(raw); err != nil {
			return nil, err
		}
		return bytes.Clone(raw), nil // The caller may use its slice again.
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func (jsonCodec) Unmarshal(data []byte, body any) error {
	return json.Unmarshal(data, body)
}

// checkJSON returns an error unless raw is one JSON value.
func checkJSON(raw []byte) error {
	if jsontext.Valid(raw) {
		return nil
	}
	var v any // Unmarshal says where the fault is.
	return json.Unmarshal(raw, &v)
}
