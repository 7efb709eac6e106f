package redis_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// change replaces a part of a recorded entry.
func (v vector) change(t testing.TB, part, by string) []string {
	t.Helper()
	fields := slices.Clone(v.fields)
	if fields[1] = strings.Replace(v.data(), part, by, 1); fields[1] == v.data() {
		t.Fatalf("%s has no %q", v.name, part)
	}
	return fields
}

// brokenEntry is an entry that is no event, and the error that says so.
type brokenEntry struct {
	what   string
	fields []string
	policy redis.EnvelopePolicy
	want   error
	reason string
}

func brokenEntries(t testing.TB) []brokenEntry {
	two, three := recordedSingle(t, 2), recordedSingle(t, 3)
	data := func(text string) []string { return []string{"data", text} }
	hash := two.header(t).Hash
	return []brokenEntry{
		{what: "fields of another library", fields: []string{"payload", "{}", "type", "user.created"}, want: redis.ErrUnknownFormat, reason: "no field _watermill_message_uuid"},
		{what: "an empty field data", fields: data(""), want: redis.ErrUnknownFormat},
		{what: "no JSON", fields: data("hello"), want: redis.ErrEnvelopeJSON, reason: `"hello"`},
		{what: "half an envelope", fields: data(two.data()[:100]), want: redis.ErrEnvelopeJSON},
		{what: "a list", fields: data(`[1,2]`), want: redis.ErrEnvelopeJSON},
		{what: "a string", fields: data(`"data"`), want: redis.ErrEnvelopeJSON},
		{what: "something after it", fields: data(two.data() + "x"), want: redis.ErrEnvelopeJSON},
		{what: "an empty object", fields: data(`{}`), want: redis.ErrEnvelopeHeader, reason: "there is none"},
		{what: "a pattern alone", fields: data(`{"pattern":"user.created","data":{}}`), want: redis.ErrEnvelopeHeader},
		{what: "data that is no object", fields: data(`{"pattern":"user.created","data":"x"}`), want: redis.ErrEnvelopeJSON},
		{what: "a header that is a string", fields: data(`{"header":"x","body":1}`), want: redis.ErrEnvelopeHeader, reason: "no object"},
		{what: "no id", fields: two.change(t, `"id":`, `"di":`), want: redis.ErrEnvelopeHeader, reason: "it has no id"},
		{what: "an empty type", fields: three.change(t, `"type":"user.created"`, `"type":""`), want: redis.ErrEnvelopeHeader, reason: "it has no type"},
		{what: "a time that is a number", fields: two.change(t, `"timestamp":"2026-11-23T22:26:47.959Z"`, `"timestamp":1795472807959`), want: redis.ErrEnvelopeHeader, reason: "it has no timestamp"},
		{what: "no version", fields: two.change(t, `,"version":"1.0.0"`, ``), want: redis.ErrEnvelopeHeader, reason: "it has no version"},
		{what: "no body", fields: two.change(t, `"body":`, `"yob":`), want: redis.ErrEnvelopeBody},
		{what: "another version", fields: two.change(t, `"1.0.0"`, `"9.0.0"`), policy: redis.EnvelopePolicy{Versions: []string{"1.0.0", "2.0.0"}}, want: redis.ErrEnvelopeVersion, reason: `"9.0.0"`},
		{what: "another body", fields: two.change(t, `"John Doe"`, `"Jane Doe"`), policy: redis.EnvelopePolicy{RefuseWrongHash: true}, want: redis.ErrEnvelopeHash, reason: hash},
		{what: "garbage beside it", fields: append(slices.Clone(two.fields), "_events_metadata", "\xc1"), want: redis.ErrUnknownFormat, reason: "beside the envelope"},
	}
}

func TestBrokenEnvelopesAreToldApartAndGoRawToTheDeadLetters(t *testing.T) {
	f := newFixture(t)
	byPolicy := map[bool][]brokenEntry{}
	for _, b := range brokenEntries(t) {
		strict := b.policy.Versions != nil || b.policy.RefuseWrongHash
		byPolicy[strict] = append(byPolicy[strict], b)
		if strict {
			continue
		}
		values := map[string]any{}
		for i := 0; i < len(b.fields); i += 2 {
			values[b.fields[i]] = b.fields[i+1]
		}
		if _, err := redis.Decode(values); !errors.Is(err, b.want) || !strings.Contains(err.Error(), b.reason) {
			t.Errorf("%s: error %v, want %v and %q", b.what, err, b.want, b.reason)
		}
	}
	for strict, broken := range byPolicy {
		topic := map[bool]string{false: "lenient", true: "strict"}[strict]
		cfg := redis.SubscriberConfig{}
		if strict {
			cfg.Envelopes = redis.EnvelopePolicy{Versions: []string{"1.0.0", "2.0.0"}, RefuseWrongHash: true}
		}
		for _, b := range broken {
			f.add(topic, b.fields...)
		}
		f.add(topic, recordedSingle(t, 2).fields...)
		r := f.receiverOn(cfg, topic)
		if d := f.receive(r); events.HeaderOf(d.Message).ID != recordedSingle(t, 2).header(t).ID {
			t.Errorf("%s: received %+v", topic, d.Message)
		} else {
			f.check(r.Settle(t.Context(), d.Ack()))
		}
		dead := f.fieldsOf(transport.DeadLetterTopic(topic))
		if len(dead) != len(broken) {
			t.Fatalf("%s: %d dead letters, want %d", topic, len(dead), len(broken))
		}
		for i, b := range broken {
			n := len(b.fields)
			reason := dead[i][slices.Index(dead[i], transport.MetadataFailureReason)+1]
			if !slices.Equal(dead[i][:n], b.fields) || !strings.Contains(reason, b.want.Error()) || !strings.Contains(reason, b.reason) {
				t.Errorf("%s: dead letter %.300q, reason %q", b.what, dead[i], reason)
			}
		}
	}
}

// What is not as it should be and can be handled is handled, unless the policy says otherwise.
func TestDoubtfulEnvelopesAreDeliveredWithAMark(t *testing.T) {
	f := newFixture(t)
	two, three := recordedSingle(t, 2), recordedSingle(t, 3)
	bare := `{"header":` + strings.SplitAfter(strings.SplitN(two.data(), `"header":`, 2)[1], "}")[0] + `,"body":` + two.body + `}`
	spaced := strings.ReplaceAll(two.body, `","`, "\" ,\n \"")
	for _, c := range []struct {
		what      string
		fields    []string
		eventType string
		body      string
		hash      string // of the message, and
		given     string // what it has as a mark
	}{
		{"another body", two.change(t, `"John Doe"`, `"Jane Doe"`), "user.created", strings.Replace(two.body, "John", "Jane", 1), events.Hash([]byte(strings.Replace(two.body, "John", "Jane", 1))), two.header(t).Hash},
		{"white space in the body", two.change(t, two.body, spaced), "user.created", spaced, two.header(t).Hash, ""},
		{"another version", three.change(t, `"1.0.0"`, `"9.0.0"`), "user.created", three.body, three.header(t).Hash, ""},
		{"a time that is none", two.change(t, `"2026-11-23T22:26:47.959Z"`, `"yesterday"`), "user.created", two.body, two.header(t).Hash, ""},
		{"more members", two.change(t, `"version"`, `"tenant":{"a":[1]},"version"`), "user.created", two.body, two.header(t).Hash, ""},
		{"other order and escapes", []string{"data", `{"data":{"body":` + two.body + `,"\u0068eader":{"version":"1","hash":"` + two.header(t).Hash + `","timestamp":"","origin":"","type":"x.user.created","id":"i"}},"pattern":"user.created"}`}, "user.created", two.body, two.header(t).Hash, ""},
		{"the envelope alone", []string{"data", bare}, "user-service.user.created", two.body, two.header(t).Hash, ""},
		{"a dead letter of that library", []string{"data", `["data",` + quote(two.data()) + `]`}, "user.created", two.body, two.header(t).Hash, ""},
		{"a pattern that is no string", two.change(t, `"user-events:user.created"`, `7`), "user-service.user.created", two.body, two.header(t).Hash, ""},
	} {
		f.add("t", c.fields...)
		r := f.open(redis.SubscriberConfig{}, "t")
		d := f.receive(r)
		h := events.HeaderOf(d.Message)
		if h.Type != c.eventType || string(d.Message.Payload) != c.body || h.Hash != c.hash || d.Message.Metadata[redis.MetadataHashGiven] != c.given {
			t.Errorf("%s: header %+v, payload %s, given %q", c.what, h, d.Message.Payload, d.Message.Metadata[redis.MetadataHashGiven])
		}
		f.check(r.Settle(t.Context(), d.Ack()))
		f.check(r.Close())
	}
}
