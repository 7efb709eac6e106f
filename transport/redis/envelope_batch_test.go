package redis_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// recordedEvent is an event of a recorded batch, as encoding/json reads it.
type recordedEvent struct {
	Header struct{ ID, Type, Origin, Timestamp, Hash, Version string }
	Body   json.RawMessage
}

// recordedBatch is a recorded batch of either version.
type recordedBatch struct {
	vector
	id     string
	at     time.Time
	events []recordedEvent
	types  []string // without namespaces
}

func recordedBatches(t testing.TB) (all []recordedBatch) {
	t.Helper()
	for _, v := range vectors(t) {
		if !v.batch {
			continue
		}
		b := recordedBatch{vector: v}
		var entry struct{ Data json.RawMessage }
		if err := json.Unmarshal([]byte(v.data()), &entry); err != nil {
			t.Fatal(err)
		}
		if v.format.Version == 3 {
			if err := json.Unmarshal(entry.Data, &b.events); err != nil {
				t.Fatal(err)
			}
			for _, e := range b.events {
				b.types = append(b.types, e.Header.Type)
			}
			b.at = v.storedAt(t)
		} else {
			var data struct {
				Header struct {
					BatchID   string
					Timestamp time.Time
				}
				Body struct {
					Messages []struct {
						EventType string
						Envelope  recordedEvent
					}
				}
			}
			if err := json.Unmarshal(entry.Data, &data); err != nil {
				t.Fatal(err)
			}
			for _, m := range data.Body.Messages {
				b.events, b.types = append(b.events, m.Envelope), append(b.types, m.EventType)
			}
			b.id, b.at = data.Header.BatchID, data.Header.Timestamp
		}
		all = append(all, b)
	}
	if len(all) < 8 {
		t.Fatalf("%d recorded batches", len(all))
	}
	return all
}

func TestFromTheSameEventsTheRecordedBatchIsWritten(t *testing.T) {
	for _, b := range recordedBatches(t) {
		var msgs []*message.Message
		for i, e := range b.events {
			b.origin = e.Header.Origin
			msgs = append(msgs, b.published(t, b.types[i], e.Body, e.Header.ID, e.Header.Timestamp))
		}
		got, err := redis.EncodeBatchAt(b.format, b.stream, msgs, b.id, b.at)
		if err != nil {
			t.Errorf("%s: %v", b.name, err)
			continue
		}
		want := slices.Clone(b.fields)
		if b.format.Version == 3 { // It has looked at the clock twice, and a millisecond had passed.
			want[1] = strings.Replace(want[1], `"timestamp":1795475394183`, `"timestamp":1795475394182`, 1)
		}
		sameFields(t, b.name, got, want)
	}
}

func TestEveryRecordedBatchIsReadAsSingleEvents(t *testing.T) {
	f := newFixture(t)
	for _, b := range recordedBatches(t) {
		f.add(b.stream, b.fields...)
	}
	r := f.receiverOn(redis.SubscriberConfig{Envelopes: redis.EnvelopePolicy{RefuseWrongHash: true}}, "user.events", "stream:user-events")
	want := map[string]recordedEvent{}
	types := map[string]string{}
	for _, b := range recordedBatches(t) {
		for i, e := range b.events {
			want[e.Header.ID], types[e.Header.ID] = e, b.types[i]
		}
	}
	for range len(want) {
		d := f.receive(r)
		h, w := events.HeaderOf(d.Message), want[d.Message.UUID].Header
		if h.Type != types[h.ID] || h.Origin != w.Origin || h.Hash != w.Hash || h.Version != w.Version || string(d.Message.Payload) != string(want[h.ID].Body) || events.Hash(d.Message.Payload) != w.Hash {
			t.Errorf("received %+v, %s, want %+v", h, d.Message.Payload, want[h.ID])
		}
		delete(want, d.Message.UUID)
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	for _, topic := range []string{"user.events", "stream:user-events"} {
		if p, err := f.client.XPending(t.Context(), topic, "g").Result(); err != nil || p.Count != 0 {
			t.Errorf("%d pending in %s, %v", p.Count, topic, err)
		}
		if n := len(f.entries(transport.DeadLetterTopic(topic))); n != 0 {
			t.Errorf("%d dead letters of %s", n, topic)
		}
	}
}

// batchOfThree returns a recorded batch of each version.
func batchOfThree(t testing.TB, version int) recordedBatch {
	t.Helper()
	for _, b := range recordedBatches(t) {
		if b.format.Version == version && len(b.events) == 3 {
			return b
		}
	}
	t.Fatal("no such batch is recorded")
	return recordedBatch{}
}

func TestEachEventOfABatchIsSettledForItselfAndStaysReadable(t *testing.T) {
	for _, version := range []int{2, 3} {
		f := newFixture(t)
		b := batchOfThree(t, version)
		f.add("t", b.fields...)
		r := f.receiver(redis.SubscriberConfig{})
		first, second, third := f.receive(r), f.receive(r), f.receive(r)
		f.check(r.Settle(t.Context(), first.Ack()))
		f.check(r.Settle(t.Context(), second.Retry(0, errors.New("busy"))))
		if f.pending() != 1 {
			t.Error("the batch is settled before its last event")
		}
		f.check(r.Settle(t.Context(), third.DeadLetter(errors.New("no such user"))))
		f.eventually("the batch is settled", func() bool { return f.pending() == 0 })

		// What is stored is what its publisher would have written of the one event.
		single := func(i int) []string {
			e := b.events[i]
			b.origin = e.Header.Origin
			fields, err := redis.EncodeAt(b.format, b.stream, b.published(t, b.types[i], e.Body, e.Header.ID, e.Header.Timestamp), b.at)
			f.check(err)
			texts := make([]string, len(fields))
			for i, field := range fields {
				var ok bool
				if texts[i], ok = field.(string); !ok {
					texts[i] = string(field.([]byte))
				}
			}
			return texts
		}
		dead, want := f.fieldsOf(transport.DeadLetterTopic("t")), single(2)
		if len(dead) != 1 || !slices.Equal(dead[0][:len(want)], want) {
			t.Errorf("dead letters %q, want %q", dead, want)
		}
		letter, err := redis.Decode(f.entries(transport.DeadLetterTopic("t"))[0].Values)
		f.check(err)
		if letter.UUID != b.events[2].Header.ID || letter.Metadata[transport.MetadataFailureReason] != "no such user" {
			t.Errorf("dead letter %+v", letter)
		}
		again := f.receive(r)
		if again.Attempt != 2 || again.Message.UUID != second.Message.UUID || !again.Message.Equals(second.Message) || again.ID != second.ID {
			t.Errorf("the retry is %+v, %+v", again, again.Message)
		}
		want = single(1)
		if got := f.fieldsOf("{t}:retry:g"); len(got) != 1 || !slices.Equal(got[0][:len(want)], want) {
			t.Errorf("retries %q, want %q", got, want)
		}
		f.check(r.Settle(t.Context(), again.Release()))
		if d := f.receive(r); d.Attempt != 2 || !d.Message.Equals(second.Message) {
			t.Errorf("released, it is %+v", d)
		} else {
			f.check(r.Settle(t.Context(), d.Ack()))
		}
	}
}

func TestOfABatchWithABrokenEventTheOthersAreDelivered(t *testing.T) {
	for _, c := range []struct {
		version int
		part    string // of the second event
		by      string
		want    error
	}{
		{2, `"envelope":{"header":`, `"envelope":{"head":`, redis.ErrEnvelopeHeader},
		{2, `"envelope":{"header":{`, `"envelop":{"header":{`, redis.ErrEnvelopeHeader},
		{2, `"version":"1.0.0"},"body":`, `"version":"1.0.0"},"yob":`, redis.ErrEnvelopeBody},
		{2, `"version":"1.0.0"`, `"version":"7.0.0"`, redis.ErrEnvelopeVersion},
		{3, `"hash":"`, `"hash":"0`, redis.ErrEnvelopeHash},
		{3, `"type":"user.created"`, `"type":null`, redis.ErrEnvelopeHeader},
	} {
		f := newFixture(t)
		b := batchOfThree(t, c.version)
		// The second event begins after the first one's last member.
		head, tail, ok := strings.Cut(b.data(), string(b.events[0].Body)+"}")
		if !ok {
			t.Fatal(b.data())
		}
		broken := strings.Replace(tail, c.part, c.by, 1)
		data := head + string(b.events[0].Body) + "}" + broken
		if data == b.data() {
			t.Fatalf("no %q in %s", c.part, tail)
		}
		f.add("t", append([]string{"data", data}, b.fields[2:]...)...)
		r := f.receiver(redis.SubscriberConfig{Envelopes: redis.EnvelopePolicy{Versions: []string{"1.0.0"}, RefuseWrongHash: true}})
		for _, i := range []int{0, 2} {
			d := f.receive(r)
			if d.Message.UUID != b.events[i].Header.ID {
				t.Errorf("received %+v, want event %d", d.Message, i+1)
			}
			f.check(r.Settle(t.Context(), d.Ack()))
		}
		f.eventually("the batch is settled", func() bool { return f.pending() == 0 })
		dead := f.fieldsOf(transport.DeadLetterTopic("t"))
		if len(dead) != 1 {
			t.Fatalf("%v: dead letters %q", c.want, dead)
		}
		reason := dead[0][slices.Index(dead[0], transport.MetadataFailureReason)+1]
		if dead[0][0] != "data" || !strings.Contains(data, dead[0][1]) || !strings.Contains(dead[0][1], b.events[1].Header.ID) || !strings.Contains(dead[0][1], c.by) ||
			!strings.Contains(reason, c.want.Error()) || !strings.Contains(reason, "event 2 of a batch of 3") {
			t.Errorf("%v: dead letter %q", c.want, dead[0])
		}
	}
}

func TestABatchThatCannotBeTakenApartIsADeadLetter(t *testing.T) {
	f := newFixture(t)
	two, three := batchOfThree(t, 2), batchOfThree(t, 3)
	header := `{"pattern":"user.batch","data":{"header":{"type":"user.batch","messageCount":1},"body":`
	broken := [][]string{
		{"data", header + `{"messages":{}}}}`}, {"data", header + `{"messages":[]}}}`}, {"data", header + `{}}}`}, {"data", header + `null}}`},
		{"data", `{"data":[],"metadata":{"batch":true}}`}, {"data", two.data()[:len(two.data())-3]},
	}
	for _, fields := range broken {
		f.add("t", fields...)
	}
	f.add("t", three.fields...)
	r := f.receiver(redis.SubscriberConfig{})
	for range 3 {
		f.check(r.Settle(t.Context(), f.receive(r).Ack()))
	}
	dead := f.fieldsOf(transport.DeadLetterTopic("t"))
	if len(dead) != len(broken) {
		t.Fatalf("%d dead letters, want %d", len(dead), len(broken))
	}
	for i, fields := range broken {
		reason := dead[i][slices.Index(dead[i], transport.MetadataFailureReason)+1]
		want := redis.ErrEnvelopeBatch
		if i == len(broken)-1 {
			want = redis.ErrEnvelopeJSON
		}
		if !slices.Equal(dead[i][:2], fields) || !strings.Contains(reason, want.Error()) {
			t.Errorf("dead letter %q", dead[i])
		}
	}
	if _, err := redis.Decode(two.values()); !errors.Is(err, redis.ErrEnvelopeBatch) {
		t.Errorf("a batch is no single message: %v", err)
	}
}
