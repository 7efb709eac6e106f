package redis_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/jsontext"
	"github.com/logistically/events/transport/redis"
)

// vector is one publish call of the TypeScript library, or one batch, and an entry
// that it has made: testdata/envelopes.
type vector struct {
	name      string
	format    redis.EnvelopeFormat
	origin    string
	eventType string
	body      string // as JSON.stringify wrote it
	stream    string
	fields    []string // and values, in turn
	batch     bool
}

// recordedCase is a case of the files.
type recordedCase struct {
	Case      string
	Publisher struct {
		OriginServiceName, EventNamespace, RoutePrefix, Service, OriginPrefix string
	}
	Input   json.RawMessage
	Stream  string
	Fields  []string
	Streams map[string][]struct{ Fields []string }
	Hash    string `json:"hash_of_body_json"`
}

func vectors(t testing.TB) (all []vector) {
	t.Helper()
	for version, name := range map[int]string{2: "v2.json", 3: "v3.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", "envelopes", name))
		if err != nil {
			t.Fatal(err)
		}
		var cases []recordedCase
		if err := json.Unmarshal(text, &cases); err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			p := c.Publisher
			v := vector{
				name: name + " " + c.Case, origin: p.OriginServiceName + p.Service, batch: strings.HasPrefix(c.Case, "batch"),
				format: redis.EnvelopeFormat{Version: version, Namespace: p.EventNamespace, Prefix: p.RoutePrefix, OriginPrefix: p.OriginPrefix},
			}
			var input struct {
				Type string
				Body string `json:"body_json"`
			}
			if !v.batch {
				if err := json.Unmarshal(c.Input, &input); err != nil {
					t.Fatal(err)
				}
			}
			v.eventType, v.body = input.Type, input.Body
			if c.Fields != nil {
				v.stream, v.fields = c.Stream, c.Fields
				all = append(all, v)
			}
			for stream, entries := range c.Streams {
				for _, e := range entries {
					v.stream, v.fields = stream, e.Fields
					all = append(all, v)
				}
			}
		}
	}
	if len(all) < 48 {
		t.Fatalf("%d recorded entries", len(all))
	}
	return all
}

func (v vector) data() string { return v.fields[1] }

func (v vector) values() map[string]any {
	values := map[string]any{}
	for i := 0; i < len(v.fields); i += 2 {
		values[v.fields[i]] = v.fields[i+1]
	}
	return values
}

// header is the one in the recorded envelope, as encoding/json reads it.
func (v vector) header(t testing.TB) (h struct{ ID, Type, Origin, Timestamp, Hash, Version string }) {
	t.Helper()
	var e struct {
		Header *struct{ ID, Type, Origin, Timestamp, Hash, Version string }
		Data   struct {
			Header struct{ ID, Type, Origin, Timestamp, Hash, Version string }
		}
	}
	if err := json.Unmarshal([]byte(v.data()), &e); err != nil {
		t.Fatal(err)
	}
	if e.Header != nil {
		return *e.Header
	}
	return e.Data.Header
}

// published makes the message as a service of this library would, at the recorded
// time and with the recorded id.
func (v vector) published(t testing.TB, eventType string, body json.RawMessage, id, timestamp string) *message.Message {
	t.Helper()
	pub, err := events.NewPublisher(nowhere{}, events.PublisherConfig{Origin: v.origin, Topic: v.format.Topic})
	if err != nil {
		t.Fatal(err)
	}
	msg, err := pub.Message(t.Context(), eventType, body)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, timestamp)
	if err != nil {
		t.Fatal(err)
	}
	events.SetHeader(msg, events.Header{ID: id, Time: at, CorrelationID: id})
	return msg
}

type nowhere struct{}

func (nowhere) Publish(string, ...*message.Message) error { return nil }
func (nowhere) Close() error                              { return nil }

// storedAt is the time that entries of version 3 have in a field.
func (v vector) storedAt(t testing.TB) time.Time {
	t.Helper()
	text, _ := v.values()["timestamp"].(string)
	if text == "" {
		return time.Time{}
	}
	var ms int64
	if err := json.Unmarshal([]byte(text), &ms); err != nil {
		t.Fatal(err)
	}
	return time.UnixMilli(ms)
}

// sameFields compares an encoded entry with a recorded one, field by field.
func sameFields(t *testing.T, name string, got []any, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d names and values, want %d: %.500q", name, len(got), len(want), got)
		return
	}
	for i := range got {
		text, ok := got[i].(string)
		if !ok {
			text = string(got[i].([]byte))
		}
		if text != want[i] {
			t.Errorf("%s, %d\n is %.1000s\nwant %.1000s", name, i, text, want[i])
		}
	}
}

func TestEveryRecordedEntryIsReadAndItsHashFound(t *testing.T) {
	for _, v := range vectors(t) {
		if v.batch {
			continue
		}
		msg, err := redis.Decode(v.values())
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		want, h := v.header(t), events.HeaderOf(msg)
		if h.ID != want.ID || h.Type != v.eventType || h.Origin != want.Origin || h.Version != want.Version || h.Time.UTC().Format("2006-01-02T15:04:05.000Z") != want.Timestamp {
			t.Errorf("%s: header %+v, want %+v", v.name, h, want)
		}
		if string(msg.Payload) != v.body || h.Hash != want.Hash || events.Hash(msg.Payload) != want.Hash || msg.Metadata[redis.MetadataHashGiven] != "" {
			t.Errorf("%s: payload %.500s, hash %s, want %.500s, %s", v.name, msg.Payload, h.Hash, v.body, want.Hash)
		}
		if namespace := strings.TrimSuffix(strings.TrimSuffix(want.Type, v.eventType), "."); msg.Metadata[redis.MetadataNamespace] != namespace {
			t.Errorf("%s: namespace %q, want %q", v.name, msg.Metadata[redis.MetadataNamespace], namespace)
		}
		if got := msg.Metadata[redis.MetadataOriginPrefix]; got != v.format.OriginPrefix {
			t.Errorf("%s: origin prefix %q", v.name, got)
		}
	}
}

func TestFromTheSameInputTheRecordedEntryIsWritten(t *testing.T) {
	for _, v := range vectors(t) {
		if v.batch {
			continue
		}
		if topic := v.format.Topic(v.eventType); topic != v.stream {
			t.Errorf("%s: topic %q, want %q", v.name, topic, v.stream)
		}
		want := v.header(t)
		msg := v.published(t, v.eventType, json.RawMessage(v.body), want.ID, want.Timestamp)
		got, err := redis.EncodeAt(v.format, v.stream, msg, v.storedAt(t))
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		sameFields(t, v.name, got, v.fields)
	}
}

// A message that was read is written as it was, by a format that says nothing of the service it came from.
func TestARecordedEntryThatIsReadIsWrittenAgainAsItWas(t *testing.T) {
	for _, v := range vectors(t) {
		if v.batch {
			continue
		}
		msg, err := redis.Decode(v.values())
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		got, err := redis.EncodeAt(redis.EnvelopeFormat{Version: v.format.Version, Prefix: v.format.Prefix}, v.stream, msg, v.storedAt(t))
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		sameFields(t, v.name, got, v.fields)
	}
}

// quote writes a string as JSON.
func quote(text string) string { return string(jsontext.AppendText(nil, text)) }
