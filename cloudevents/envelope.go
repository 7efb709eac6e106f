package cloudevents

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// envelope writes an event in structured mode.
func envelope(msg *message.Message, attributes map[string]string) ([]byte, error) {
	all := make(map[string]any, len(attributes)+1)
	for name, value := range attributes {
		all[name] = value
	}
	switch {
	case len(msg.Payload) == 0:
	case isJSON(attributes["datacontenttype"]):
		if !json.Valid(msg.Payload) {
			return nil, invalid(msg, "its payload is not JSON: say in metadata %q what it is", Prefix+"datacontenttype")
		}
		all["data"] = json.RawMessage(msg.Payload)
	default:
		all["data_base64"] = base64.StdEncoding.EncodeToString(msg.Payload)
	}
	return events.JSON.Marshal(all)
}

func isJSON(mediaType string) bool {
	mediaType, _, _ = strings.Cut(strings.ToLower(mediaType), ";")
	mediaType = strings.TrimSpace(mediaType)
	return mediaType == "" || strings.HasSuffix(mediaType, "/json") || strings.HasSuffix(mediaType, "+json")
}

// open reads an envelope: the attributes, and the data as bytes.
func open(msg *message.Message, attributes map[string]string) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(msg.Payload, &all); err != nil {
		return nil, invalid(msg, "its envelope does not parse: %v", err)
	}
	data, plain := all["data"]
	encoded, binary := all["data_base64"]
	if plain && binary {
		return nil, invalid(msg, "it has both data and data_base64")
	}
	delete(all, "data")
	delete(all, "data_base64")
	for name, raw := range all {
		if !isName(name) {
			return nil, invalid(msg, "%q is no name of an attribute", name)
		}
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, invalid(msg, "attribute %s: %v", name, err)
		}
		switch value := value.(type) {
		case nil: // the same as none
		case string:
			attributes[name] = value
		case bool, float64:
			attributes[name] = string(raw)
		default:
			return nil, invalid(msg, "attribute %s is neither a text, a number nor a boolean", name)
		}
	}
	switch {
	case binary:
		var text string
		if err := json.Unmarshal(encoded, &text); err != nil {
			return nil, invalid(msg, "data_base64: %v", err)
		}
		bytes, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, invalid(msg, "data_base64: %v", err)
		}
		return bytes, nil
	case plain && !isJSON(attributes["datacontenttype"]):
		var text string
		if json.Unmarshal(data, &text) == nil { // The text itself is the data.
			return []byte(text), nil
		}
	}
	return data, nil
}
