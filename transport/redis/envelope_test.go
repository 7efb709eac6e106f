package redis_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// recordedSingle returns the recorded entry of a publish call of "user.created".
func recordedSingle(t testing.TB, version int) vector {
	t.Helper()
	for _, v := range vectors(t) {
		if v.format.Version == version && v.eventType == "user.created" && !v.batch && v.format.OriginPrefix == "" && v.format.Namespace == "" {
			return v
		}
	}
	t.Fatal("no such entry is recorded")
	return vector{}
}

// fieldsOf returns the names and values of an entry, in their order.
func (f *fixture) fieldsOf(key string) [][]string {
	f.t.Helper()
	reply, err := f.client.Do(f.t.Context(), "xrange", key, "-", "+").Slice()
	f.check(err)
	var all [][]string
	for _, e := range reply {
		var fields []string
		for _, s := range e.([]any)[1].([]any) {
			fields = append(fields, s.(string))
		}
		all = append(all, fields)
	}
	return all
}

// envelopes returns a typed publisher that writes in a format.
func (f *fixture) envelopes(format redis.EnvelopeFormat) *events.Publisher {
	f.t.Helper()
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: f.client, Format: format})
	f.check(err)
	typed, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "user-service", Topic: format.Topic})
	f.check(err)
	return typed
}

func TestAnEnvelopeKeepsItsEntryOnEveryWay(t *testing.T) {
	for _, version := range []int{2, 3} {
		f := newFixture(t)
		v := recordedSingle(t, version)
		f.add("t", v.fields...)
		r := f.receiver(redis.SubscriberConfig{})
		original := f.receive(r)
		same := func(d *transport.Delivery, attempt int) {
			t.Helper()
			if d.ID != original.ID || d.Attempt != attempt || d.Stored != original.Stored || string(d.Message.Payload) != v.body || events.HeaderOf(d.Message) != events.HeaderOf(original.Message) {
				t.Errorf("delivery %+v, message %+v, attempt %d wanted", d, d.Message, attempt)
			}
		}
		f.check(r.Settle(t.Context(), original.Retry(0, errors.New("busy"))))
		f.eventually("it is among the retries", func() bool { return len(f.entries("{t}:retry:g")) == 1 })
		if got := f.fieldsOf("{t}:retry:g")[0]; !slices.Equal(got[:len(v.fields)], v.fields) {
			t.Errorf("retry %q, want the recorded fields first", got)
		}
		second := f.receive(r)
		same(second, 2)
		f.check(r.Settle(t.Context(), second.Release()))
		if got := f.fieldsOf("{t}:retry:g")[0]; !slices.Equal(got[:len(v.fields)], v.fields) {
			t.Errorf("released %q, want the recorded fields first", got)
		}
		third := f.receive(r)
		same(third, 2)
		f.check(r.Settle(t.Context(), third.DeadLetter(errors.New("no such user"))))

		dead := f.fieldsOf(transport.DeadLetterTopic("t"))
		if len(dead) != 1 || !slices.Equal(dead[0][:len(v.fields)], v.fields) || len(dead[0]) != len(v.fields)+2 {
			t.Fatalf("dead letters %q", dead)
		}
		letter, err := redis.Decode(f.entries(transport.DeadLetterTopic("t"))[0].Values)
		f.check(err)
		if events.HeaderOf(letter) != events.HeaderOf(original.Message) || letter.Metadata[transport.MetadataFailureReason] != "no such user" || letter.Metadata[transport.MetadataFailureID] != original.ID {
			t.Errorf("dead letter %+v", letter)
		}
		inspector, err := redis.NewInspector(redis.InspectorConfig{Client: f.client})
		f.check(err)
		if letters, err := inspector.DeadLetters(t.Context(), "t", "", 10); err != nil || len(letters) != 1 || letters[0].Reason != "no such user" || letters[0].Message.UUID != original.Message.UUID {
			t.Errorf("the inspector has %+v, %v", letters, err)
		}
		if f.pending() != 0 || len(f.entries("{t}:retry:g")) != 0 {
			t.Error("something is left")
		}
	}
}

func TestAnEntryOfManyForeignFieldsIsRetriedAllTheSame(t *testing.T) {
	f := newFixture(t)
	v := recordedSingle(t, 2)
	f.add("t", append(slices.Clone(v.fields), many("x", "y")...)...)
	r := f.receiver(redis.SubscriberConfig{})
	f.check(r.Settle(t.Context(), f.receive(r).Retry(0, errors.New("busy"))))
	d := f.receive(r)
	if d.Attempt != 2 || string(d.Message.Payload) != v.body {
		t.Errorf("delivery %+v", d)
	}
	f.check(r.Settle(t.Context(), d.DeadLetter(errors.New("no"))))
	if dead := f.fieldsOf(transport.DeadLetterTopic("t")); dead[0][0] != "data" || dead[0][1] != v.data() {
		t.Errorf("dead letter %.300q", dead)
	}
}

// What the format has no place for goes beside it, and only if there is something.
func TestCorrelationAndTraceTravelBesideTheEnvelope(t *testing.T) {
	for _, version := range []int{2, 3} {
		f := newFixture(t)
		format := redis.EnvelopeFormat{Version: version}
		pub := f.envelopes(format)
		f.check(pub.Publish(t.Context(), "user.created", map[string]int{"n": 1}))
		cause := events.Header{ID: "cause", CorrelationID: "tree", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "a=b"}
		f.check(pub.Publish(events.ContextWithHeader(t.Context(), cause), "user.created", map[string]int{"n": 2}))
		topic := format.Topic("user.created")
		stored := f.fieldsOf(topic)
		plain := map[int]int{2: 2, 3: 6}[version]
		if len(stored[0]) != plain || len(stored[1]) != plain+2 || stored[1][plain] != "_events_metadata" {
			t.Errorf("stored %q", stored)
		}
		r := f.receiverOn(redis.SubscriberConfig{}, topic)
		first, second := f.receive(r), f.receive(r)
		if h := events.HeaderOf(first.Message); h.CorrelationID != "" || h.Type != "user.created" || h.Origin != "user-service" {
			t.Errorf("first %+v", h)
		}
		h := events.HeaderOf(second.Message)
		if h.CorrelationID != "tree" || h.CausationID != "cause" || h.TraceParent != cause.TraceParent || h.TraceState != "a=b" {
			t.Errorf("second %+v", h)
		}
		// It stays on the way through retries and dead letters.
		f.check(r.Settle(t.Context(), first.Ack(), second.Retry(0, errors.New("busy"))))
		again := f.receive(r)
		if events.HeaderOf(again.Message) != h {
			t.Errorf("after a retry %+v, want %+v", events.HeaderOf(again.Message), h)
		}
		f.check(r.Settle(t.Context(), again.DeadLetter(errors.New("no"))))
		letter, err := redis.Decode(f.entries(transport.DeadLetterTopic(topic))[0].Values)
		f.check(err)
		if events.HeaderOf(letter) != h {
			t.Errorf("dead letter %+v, want %+v", events.HeaderOf(letter), h)
		}
	}
}

func TestAMessageThatCannotBeAnEnvelopeIsRefusedAlone(t *testing.T) {
	f := newFixture(t)
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: f.client, Format: redis.EnvelopeFormat{}})
	f.check(err)
	event := func(id, eventType, origin, body string) *message.Message {
		msg := message.NewMessage(id, []byte(body))
		events.SetHeader(msg, events.Header{ID: id, Type: eventType, Origin: origin})
		return msg
	}
	refused := []*message.Message{
		event("", "user.created", "o", "{}"), event("1", "", "o", "{}"), event("1", "user.created", "", "{}"),
		event("2", "user.created", "o", ""), event("3", "user.created", "o", "{"), event("4", "user.created", "o", "\"\xff\""),
		event("5", "user.created", "o", `{"id":9007199254740993}`), event("6", "user.created", "o", `1e999`),
	}
	for _, msg := range refused {
		err := pub.Publish("t", msg)
		if failed, ok := errors.AsType[*events.PublishError](err); !ok || !errors.Is(failed.Failed[0].Err, redis.ErrNoEnvelope) {
			t.Errorf("%q with %q: error %v", msg.UUID, msg.Payload, err)
		}
	}
	good := event("good", "user.created", "o", " { \"a\" : 1.50 } ")
	err = pub.Publish("t", refused[4], good)
	if failed, ok := errors.AsType[*events.PublishError](err); !ok || len(failed.Failed) != 1 || failed.Failed[0].Message != refused[4] {
		t.Errorf("error %v", err)
	}
	stored := f.fieldsOf("t")
	if len(stored) != 1 || !strings.HasSuffix(stored[0][1], `"version":"1.0.0"},"body":{"a":1.5}}}`) {
		t.Errorf("stored %q", stored)
	}
}

func TestAFormatThatCannotWorkIsRefused(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	for field, format := range map[string]redis.EnvelopeFormat{
		"Version":      {Version: 4},
		"Namespace":    {Version: 2, Namespace: "a b"},
		"Namespace ":   {Version: 3, Namespace: "a"},
		"Prefix":       {Version: 3, Prefix: "a:"},
		"OriginPrefix": {Version: 2, OriginPrefix: "eu.de"},
	} {
		_, err := redis.NewPublisher(redis.PublisherConfig{Client: client, Format: format})
		if bad, ok := errors.AsType[*events.ConfigError](err); !ok || bad.Field != "redis.EnvelopeFormat."+strings.TrimSpace(field) || bad.Remedy == "" {
			t.Errorf("%+v: error %v", format, err)
		}
	}
	if _, err := redis.NewPublisher(redis.PublisherConfig{Client: client, Format: (*redis.EnvelopeFormat)(nil)}); err == nil {
		t.Error("a nil format is taken")
	}
}

// Two publishers in the routing table: each route has its format, and one consumer reads all.
func TestARouteChoosesTheFormat(t *testing.T) {
	f := newFixture(t)
	envelopes, err := redis.NewPublisher(redis.PublisherConfig{Client: f.client, Format: redis.EnvelopeFormat{Namespace: "billing", Prefix: "user-events:"}})
	f.check(err)
	table, err := router.NewTable(router.TableConfig{
		Default:    "redis",
		Transports: map[string]message.Publisher{"redis": f.pub, "typescript": envelopes},
		Routes:     []router.Route{{Pattern: "user.**", Transport: "typescript"}},
	})
	f.check(err)
	pub, err := events.NewPublisher(table, events.PublisherConfig{Origin: "billing-service", Topic: func(string) string { return "t" }})
	f.check(err)
	f.check(pub.Publish(t.Context(), "user.created", json.RawMessage(`{"n":1}`)))
	f.check(pub.Publish(t.Context(), "order.created", json.RawMessage(`{"n":2}`)))
	stored := f.fieldsOf("t")
	if !strings.HasPrefix(stored[0][1], `{"pattern":"user-events:user.created","data":{"header":{"id":"`) || !strings.Contains(stored[0][1], `"type":"billing.user.created"`) || stored[1][0] != "_watermill_message_uuid" {
		t.Errorf("stored %q", stored)
	}
	r := f.receiver(redis.SubscriberConfig{})
	for _, want := range []string{"user.created", "order.created"} {
		d := f.receive(r)
		if h := events.HeaderOf(d.Message); h.Type != want || h.Origin != "billing-service" {
			t.Errorf("received %+v", h)
		}
		f.check(r.Settle(t.Context(), d.Ack()))
	}
}

// A message of an envelope is found by the patterns of the README: without the namespace.
func TestHandlersAreFoundByTheTypeWithoutItsNamespace(t *testing.T) {
	f := newFixture(t)
	v := recordedSingle(t, 2)
	f.add(v.stream, v.fields...)
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g", Block: 100 * time.Millisecond, Logger: f.logger()})
	f.check(err)
	rt, err := router.New(router.Config{Subscriber: sub, Topics: []string{v.stream}})
	f.check(err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := make(chan events.Event[map[string]string], 1)
	f.check(router.Handle(rt, "user.created", func(_ context.Context, ev events.Event[map[string]string]) error {
		got <- ev
		cancel()
		return nil
	}))
	f.check(rt.Run(ctx))
	if ev := <-got; ev.Body["email"] != "john@example.com" || ev.Hash != v.header(t).Hash || ev.Origin != "user-service" {
		t.Errorf("event %+v", ev)
	}
}

// What an ack publishes is written as a Publisher writes its own format; envelopes are not published so.
func TestAnAckPublishesNoEnvelopes(t *testing.T) {
	f := newFixture(t)
	f.publish("1")
	d := f.receive(f.receiver(redis.SubscriberConfig{}))
	envelopes, err := redis.NewPublisher(redis.PublisherConfig{Client: f.client, Format: redis.EnvelopeFormat{}})
	f.check(err)
	ack := d.Receipt.(transport.Committer)
	if !ack.Publishes(f.pub, "u") || ack.Publishes(envelopes, "u") {
		t.Errorf("an ack publishes entries: %v, envelopes: %v", ack.Publishes(f.pub, "u"), ack.Publishes(envelopes, "u"))
	}
}
