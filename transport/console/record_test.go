package console_test

import (
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport/console"
)

// readBack prints a message as JSON and reads it.
func readBack(t *testing.T, topic string, msg *message.Message) *message.Message {
	t.Helper()
	s, err := console.NewSubscriber(console.SubscriberConfig{Reader: strings.NewReader(printed(t, console.JSON, topic, msg))})
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := s.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	got := <-msgs
	if got != nil {
		got.Ack()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return got
}

func TestJSONKeepsEveryByteOfAMessage(t *testing.T) {
	messages := []*message.Message{message.NewMessage("", nil)}
	for _, text := range append(hostile, "\ufffd", "<&>", "1e400", "null", `{"a":1,"a":2}`) {
		for _, body := range []string{text, `"` + text + `"`} {
			msg := message.NewMessage(text, []byte(body))
			msg.Metadata["plain"] = "value"
			msg.Metadata["key"] = text
			msg.Metadata[text] = "value"
			messages = append(messages, msg)
		}
	}
	for _, msg := range messages {
		for _, topic := range []string{"user-events", msg.UUID} {
			if got := readBack(t, topic, msg); got == nil || !got.Equals(msg) {
				t.Errorf("%q %q %q came back as %+v", msg.UUID, msg.Metadata, msg.Payload, got)
			}
		}
	}
}

func FuzzJSONKeepsEveryByteOfAMessage(f *testing.F) {
	f.Add("user-events", "1", "key", "value", []byte(`{}`))
	f.Fuzz(func(t *testing.T, topic, id, key, value string, body []byte) {
		msg := message.NewMessage(id, body)
		msg.Metadata[key] = value
		if got := readBack(t, topic, msg); got == nil || !got.Equals(msg) {
			t.Errorf("came back as %+v", got)
		}
	})
}

func TestJSONIsReadableWhereItCanBe(t *testing.T) {
	msg := message.NewMessage("\xff", []byte("\"\u009b\""))
	msg.Metadata["a"] = "\xff"
	msg.Metadata["b"] = "\x7f"
	want := `{"topic":"t","id":"","metadata":{"b":"\u007f"},"binary":{"id":"/w==","metadata":[["YQ==","/w=="]]},"raw":"IsKbIg=="}` + "\n"
	if got := printed(t, console.JSON, "t", msg); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want = `{"topic":"t","id":"1","raw":""}` + "\n"
	if got := printed(t, console.JSON, "t", message.NewMessage("1", nil)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
