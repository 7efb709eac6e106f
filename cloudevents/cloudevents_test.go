package cloudevents_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/cloudevents"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder is a publisher that keeps what it gets.
type recorder struct {
	messages []*message.Message
	closed   bool
}

func (r *recorder) Publish(_ string, messages ...*message.Message) error {
	r.messages = append(r.messages, messages...)
	return nil
}
func (r *recorder) Close() error { r.closed = true; return nil }

// published is a message as events.Publisher makes it.
func published(t *testing.T, body any) *message.Message {
	t.Helper()
	p, err := events.NewPublisher(&recorder{}, events.PublisherConfig{Origin: "user-service", Version: "2.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := p.Message(t.Context(), "user.created", body)
	if err != nil {
		t.Fatal(err)
	}
	msg.Metadata["ce_subject"] = "users/7"
	msg.Metadata["tenant"] = "acme"
	return msg
}

func TestAnEventIsTheSameAfterBothModes(t *testing.T) {
	for _, mode := range []cloudevents.Mode{cloudevents.Structured, cloudevents.Binary} {
		msg := published(t, map[string]any{"id": "7", "note": "<é>"})
		before := maps.Clone(msg.Metadata)
		encoded, err := cloudevents.Encode(msg, mode)
		if err != nil {
			t.Fatal(err)
		}
		if !cloudevents.Is(encoded) || cloudevents.Is(msg) || !maps.Equal(msg.Metadata, before) {
			t.Errorf("mode %d: %v from %v", mode, encoded.Metadata, msg.Metadata)
		}
		decoded, err := cloudevents.Decode(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if decoded.UUID != msg.UUID || string(decoded.Payload) != string(msg.Payload) || !maps.Equal(decoded.Metadata, before) || events.HeaderOf(decoded) != events.HeaderOf(msg) {
			t.Errorf("mode %d: %v %s, want %v %s", mode, decoded.Metadata, decoded.Payload, before, msg.Payload)
		}
		if cloudevents.Is(decoded) {
			t.Errorf("mode %d: still a CloudEvent: %v", mode, decoded.Metadata)
		}
	}
}

func TestDataThatIsNotJSONSurvivesBothModes(t *testing.T) {
	for _, mode := range []cloudevents.Mode{cloudevents.Structured, cloudevents.Binary} {
		msg := published(t, 1)
		msg.Payload, msg.Metadata["ce_datacontenttype"] = []byte{0, 255}, "application/octet-stream"
		encoded, err := cloudevents.Encode(msg, mode)
		if err != nil {
			t.Fatal(err)
		}
		if mode == cloudevents.Binary && encoded.Metadata["content-type"] != "application/octet-stream" {
			t.Errorf("%v", encoded.Metadata)
		}
		if decoded, err := cloudevents.Decode(encoded); err != nil || string(decoded.Payload) != "\x00\xff" {
			t.Errorf("mode %d: %v %v", mode, decoded, err)
		}
	}
}

func TestWhatIsNoCloudEventIsRefusedForGood(t *testing.T) {
	for want, c := range map[string]struct{ payload, id string }{
		"does not parse":            {`{`, ""},
		`specversion is "0.3"`:      {`{"specversion":"0.3","id":"1","source":"s","type":"t"}`, ""},
		"it has no source":          {`{"specversion":"1.0","id":"1","type":"t"}`, ""},
		"no RFC 3339 time":          {`{"specversion":"1.0","id":"1","source":"s","type":"t","time":"now"}`, ""},
		"both data and data_base64": {`{"specversion":"1.0","id":"1","source":"s","type":"t","data":1,"data_base64":"AA=="}`, ""},
		"illegal base64":            {`{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"?"}`, ""},
		"neither a text":            {`{"specversion":"1.0","id":"1","source":"s","type":"t","x":{}}`, ""},
		`"Sub-Ject" is no name`:     {`{"specversion":"1.0","id":"1","source":"s","type":"t","Sub-Ject":"x"}`, ""},
	} {
		msg := message.NewMessage("1", []byte(c.payload))
		msg.Metadata["content-type"] = "application/cloudevents+json"
		_, err := cloudevents.Decode(msg)
		if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, cloudevents.ErrInvalid) || !events.IsPermanent(err) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	for want, spoil := range map[string]func(*message.Message){
		"has no event type":  func(m *message.Message) { delete(m.Metadata, events.MetadataType) },
		"has no origin":      func(m *message.Message) { delete(m.Metadata, events.MetadataOrigin) },
		"has no UUID":        func(m *message.Message) { m.UUID = "" },
		"no URI reference":   func(m *message.Message) { m.Metadata[events.MetadataOrigin] = "%" },
		"its payload is not": func(m *message.Message) { m.Payload = []byte("?") },
		"lower-case letters": func(m *message.Message) { m.Metadata["ce_Sub-Ject"] = "x" },
	} {
		msg := published(t, 1)
		spoil(msg)
		if _, err := cloudevents.Encode(msg, cloudevents.Structured); !errors.Is(err, cloudevents.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestConstructorsRefuseWhatCannotWork(t *testing.T) {
	_, nilErr := cloudevents.NewPublisher(nil, cloudevents.Structured)
	_, modeErr := cloudevents.NewPublisher(&recorder{}, 7)
	_, encodeErr := cloudevents.Encode(published(t, 1), 7)
	for _, err := range []error{nilErr, modeErr, encodeErr} {
		if _, ok := errors.AsType[*events.ConfigError](err); !ok {
			t.Errorf("got %v", err)
		}
	}
}

func TestReadDecodesForWhatIsInside(t *testing.T) {
	encoded, err := cloudevents.Encode(published(t, 7), cloudevents.Structured)
	if err != nil {
		t.Fatal(err)
	}
	plain, broken := message.NewMessage("1", []byte(`1`)), encoded.Copy()
	broken.Payload = []byte(`{}`)
	var got []string
	handle := cloudevents.Read(func(msg *message.Message) ([]*message.Message, error) {
		got = append(got, string(msg.Payload))
		return nil, nil
	})
	for _, msg := range []*message.Message{encoded, plain} {
		if _, err := handle(msg); err != nil {
			t.Error(err)
		}
	}
	if _, err := handle(broken); !events.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	if strings.Join(got, " ") != "7 1" {
		t.Errorf("handled %v", got)
	}
}

func ExampleNewPublisher() {
	transport := &recorder{} // any message.Publisher
	p, err := cloudevents.NewPublisher(transport, cloudevents.Structured)
	if err != nil {
		fmt.Println(err)
		return
	}
	msg := message.NewMessage("42", []byte(`{"name":"Ada"}`))
	msg.Metadata[events.MetadataType], msg.Metadata[events.MetadataOrigin] = "user.created", "user-service"
	if err := p.Publish("user-events", msg); err != nil {
		fmt.Println(err)
	}
	fmt.Println(string(transport.messages[0].Payload))
	// Output:
	// {"data":{"name":"Ada"},"datacontenttype":"application/json","id":"42","source":"user-service","specversion":"1.0","type":"user.created"}
}

func ExampleDecode() {
	msg := message.NewMessage("1", []byte(`{"specversion":"1.0","id":"42","source":"/users","type":"user.created","subject":"ada","data":{"name":"Ada"}}`))
	msg.Metadata[cloudevents.MetadataContentType] = cloudevents.ContentType
	event, err := cloudevents.Decode(msg)
	if err != nil {
		fmt.Println(err)
		return
	}
	h := events.HeaderOf(event)
	fmt.Println(h.ID, h.Type, h.Origin, event.Metadata["ce_subject"], string(event.Payload))
	// Output:
	// 42 user.created /users ada {"name":"Ada"}
}
