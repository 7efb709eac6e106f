package redis

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/jsontext"
)

// recordedData returns the field data of all recorded entries.
func recordedData(f *testing.F) (all []string) {
	for _, name := range []string{"v2.json", "v3.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", "envelopes", name))
		if err != nil {
			f.Fatal(err)
		}
		var cases []struct {
			Fields  []string
			Streams map[string][]struct{ Fields []string }
		}
		if err := json.Unmarshal(text, &cases); err != nil {
			f.Fatal(err)
		}
		for _, c := range cases {
			if len(c.Fields) > 1 {
				all = append(all, c.Fields[1])
			}
			for _, entries := range c.Streams {
				for _, e := range entries {
					all = append(all, e.Fields[1])
				}
			}
		}
	}
	return all
}

var envelopeErrors = []error{ErrUnknownFormat, ErrEnvelopeJSON, ErrEnvelopeHeader, ErrEnvelopeBody, ErrEnvelopeVersion, ErrEnvelopeHash, ErrEnvelopeBatch}

// Whatever an entry holds, it is an event that is still the same after a retry, or
// refused for a reason that can be told.
func FuzzEnvelope(f *testing.F) {
	for _, data := range recordedData(f) {
		f.Add(data, "", true)
	}
	for _, data := range []string{"", "{}", "[]", `["data","{}"]`, `{"data":[],"metadata":{}}`, `{"data":{"header":{"messageCount":1},"body":{"messages":[{}]}}}`, `{"header":{"id":"1","type":"a.b","origin":"","timestamp":"","hash":"","version":""},"body":"\ud800"}`} {
		f.Add(data, "\x81\xa1a\xa1b", false)
	}
	f.Fuzz(func(t *testing.T, data, more string, strict bool) {
		var known fields
		known.set(fieldData, data)
		known.set(fieldMore, more)
		if c, err := contentOf(&known); c != nil && err == nil {
			checkBatch(t, c.(*batch))
			return
		}
		known.open(EnvelopePolicy{RefuseWrongHash: strict})
		msg := new(message.Message)
		if err := decode(msg, known, []byte(known.payload)); err != nil {
			if !slices.ContainsFunc(envelopeErrors, func(want error) bool { return errors.Is(err, want) }) {
				t.Errorf("%q: error %v", data, err)
			}
			return
		}
		if msg.UUID == "" || msg.Metadata[events.MetadataType] == "" || !json.Valid(msg.Payload) {
			t.Errorf("%q: message %+v", data, msg)
		}
		if utf8.ValidString(data) && !strings.HasPrefix(data, "[") && !strings.Contains(data, string(msg.Payload)) {
			t.Errorf("%q: payload %q", data, msg.Payload)
		}
		e := &entry{record: &record{fields: known, stream: &stream{retry: true}}}
		again := e.again(e.fields, 2)
		next := &entry{record: &record{stream: e.stream}}
		for i := 0; i < len(again); i += 2 {
			next.fields.set(again[i], again[i+1])
		}
		next.fields.open(EnvelopePolicy{})
		second := new(message.Message)
		err := decode(second, next.fields, []byte(next.fields.payload))
		if err != nil || !second.Equals(msg) {
			t.Errorf("%q: after a retry %+v, %v, before %+v", data, second, err, msg)
		}
	})
}

// checkBatch makes sure that each event of a batch is one, alone, or refused.
func checkBatch(t *testing.T, b *batch) {
	t.Helper()
	msgs, err := b.unpack(nil)
	if count, _ := b.size(); err != nil || len(msgs) != count || count == 0 {
		t.Fatalf("%d messages of %d, %v", len(msgs), count, err)
	}
	for i, msg := range msgs {
		f, fault := b.item(i)
		e := &entry{record: &record{fields: f, stream: &stream{retry: true}}}
		again := e.again(f, 2)
		next := fields{}
		for i := 0; i < len(again); i += 2 {
			next.set(again[i], again[i+1])
		}
		next.open(EnvelopePolicy{})
		alone := new(message.Message)
		err := decode(alone, next, []byte(next.payload))
		if fault != nil {
			if !slices.ContainsFunc(envelopeErrors, func(want error) bool { return errors.Is(fault, want) }) || again[0] != fieldData {
				t.Errorf("fault %v, fields %q", fault, again)
			}
			continue
		}
		if err != nil || alone.UUID != msg.UUID || string(alone.Payload) != string(msg.Payload) || alone.Metadata[events.MetadataHash] != msg.Metadata[events.MetadataHash] {
			t.Errorf("alone %+v, %v, in the batch %+v", alone, err, msg)
		}
	}
}

// Whatever a message holds, it is refused, or the same when it is read.
func FuzzEnvelopeFormat(f *testing.F) {
	f.Add("1", "user.created", "svc", "1.0.0", "", "", []byte(`{"a":1.0}`), true)
	f.Add("\"\u2028", "a", "\\", "\x00", "a.b", "x:", []byte(`"\ud800<"`), false)
	f.Fuzz(func(t *testing.T, id, eventType, origin, version, namespace, prefix string, body []byte, three bool) {
		format := EnvelopeFormat{Version: 2, Namespace: namespace, Prefix: prefix}
		if three {
			format = EnvelopeFormat{Version: 3, OriginPrefix: prefix}
		}
		if format.check() != nil || events.CheckType(eventType) != nil || strings.ContainsAny(origin, ".") {
			return
		}
		msg := message.NewMessage(id, body)
		events.SetHeader(msg, events.Header{ID: id, Type: eventType, Origin: origin, Version: version, CausationID: namespace})
		encoded, err := format.encode("t", msg, time.UnixMilli(1))
		if err != nil {
			if !errors.Is(err, ErrNoEnvelope) {
				t.Errorf("error %v", err)
			}
			return
		}
		var known fields
		for i := 0; i < len(encoded); i += 2 {
			value, ok := encoded[i+1].(string)
			if !ok {
				value = string(encoded[i+1].([]byte))
			}
			known.set(encoded[i].(string), value)
		}
		data := known.envelope.data
		if !json.Valid([]byte(data)) {
			t.Fatalf("%q is no JSON", data)
		}
		known.open(EnvelopePolicy{RefuseWrongHash: true})
		got := new(message.Message)
		if err := decode(got, known, []byte(known.payload)); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		h, clean := events.HeaderOf(got), func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
		want, err := jsontext.Stringify(nil, body)
		if err != nil || string(got.Payload) != string(want) || h.ID != clean(id) || h.Origin != clean(origin) || h.CausationID != namespace {
			t.Errorf("%q reads as %+v, %+v", data, h, got)
		}
		if full := got.Metadata[MetadataNamespace] + "." + h.Type; !three && !strings.HasSuffix(full, "."+clean(eventType)) || three && h.Type != clean(eventType) {
			t.Errorf("%q: type %q, full %q", data, h.Type, full)
		}
	})
}
