package integration

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cloudevents/sdk-go/v2/binding"
	"github.com/cloudevents/sdk-go/v2/event"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"
	"github.com/logistically/events"
	"github.com/logistically/events/cloudevents"
)

var ceBodies = []string{`{"name":"<Ada>","n":1.50,"list":[1,"é"]}`, `null`, `"text"`, `[]`, ``}

// ceMessage is a message as events.Publisher makes it.
func ceMessage(body string) *message.Message {
	msg := message.NewMessage("018f6a3e-0000-7000-8000-000000000001", []byte(body))
	events.SetHeader(msg, events.Header{
		ID: msg.UUID, Type: "user.created", Origin: "user-service", Time: time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC),
		Hash: events.Hash([]byte(body)), Version: "2.0.0", CorrelationID: "c", CausationID: "d", TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	})
	msg.Metadata["ce_subject"] = "users/7"
	return msg
}

// wantCE holds the SDK's event to our message.
func wantCE(t *testing.T, e event.Event, msg *message.Message) {
	t.Helper()
	if err := e.Validate(); err != nil {
		t.Errorf("the SDK refuses the event: %v", err)
	}
	h := events.HeaderOf(msg)
	if e.ID() != h.ID || e.Type() != h.Type || e.Source() != h.Origin || !e.Time().Equal(h.Time) || e.Subject() != "users/7" || e.SpecVersion() != "1.0" ||
		e.Extensions()["correlationid"] != "c" || e.Extensions()["bodyversion"] != "2.0.0" || e.Extensions()["traceparent"] != h.TraceParent {
		t.Errorf("the SDK reads %v, want %+v", e, h)
	}
	if string(e.Data()) != string(msg.Payload) {
		t.Errorf("the SDK reads %s, want %s", e.Data(), msg.Payload)
	}
}

func TestTheOfficialSDKReadsOurStructuredEvents(t *testing.T) {
	for _, body := range ceBodies {
		msg := ceMessage(body)
		encoded, err := cloudevents.Encode(msg, cloudevents.Structured)
		must(t, err)
		var e event.Event
		must(t, json.Unmarshal(encoded.Payload, &e))
		wantCE(t, e, msg)
	}
}

// HTTP headers are called ce-id where our metadata is called ce_id.
func TestTheOfficialSDKReadsOurBinaryEvents(t *testing.T) {
	for _, body := range ceBodies {
		msg := ceMessage(body)
		encoded, err := cloudevents.Encode(msg, cloudevents.Binary)
		must(t, err)
		header := http.Header{}
		for key, value := range encoded.Metadata {
			header.Set(strings.Replace(key, "ce_", "ce-", 1), value)
		}
		e, err := binding.ToEvent(t.Context(), cehttp.NewMessage(header, http.NoBody))
		if body != "" {
			e, err = binding.ToEvent(t.Context(), cehttp.NewMessage(header, nopCloser{bytes.NewReader(encoded.Payload)}))
		}
		must(t, err)
		wantCE(t, *e, msg)
	}
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// theirEvents are events as the SDK makes them.
func theirEvents(t *testing.T) []event.Event {
	t.Helper()
	var all []event.Event
	for _, set := range []func(e *event.Event) error{
		func(e *event.Event) error { return e.SetData("application/json", map[string]any{"name": "<Ada>"}) },
		func(e *event.Event) error { return e.SetData("text/plain", "hello") },
		func(e *event.Event) error { return e.SetData("application/octet-stream", []byte{0, 255}) },
		func(*event.Event) error { return nil },
	} {
		e := event.New()
		e.SetID("42")
		e.SetType("user.created")
		e.SetSource("https://example.com/users?x=1")
		e.SetSubject("ada")
		e.SetTime(time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.FixedZone("", 7200)))
		e.SetExtension("correlationid", "c")
		e.SetExtension("tenant", "acme")
		e.SetExtension("count", 7)
		e.SetExtension("sampled", true)
		must(t, set(&e))
		must(t, e.Validate())
		all = append(all, e)
	}
	return all
}

// wantMessage holds our message to the SDK's event.
func wantMessage(t *testing.T, msg *message.Message, e event.Event) {
	t.Helper()
	h := events.HeaderOf(msg)
	if h.ID != "42" || h.Type != e.Type() || h.Origin != e.Source() || !h.Time.Equal(e.Time()) || h.CorrelationID != "c" ||
		msg.Metadata["ce_subject"] != "ada" || msg.Metadata["ce_tenant"] != "acme" || msg.Metadata["ce_count"] != "7" || msg.Metadata["ce_sampled"] != "true" {
		t.Errorf("we read %+v %v, want %v", h, msg.Metadata, e)
	}
	if string(msg.Payload) != string(e.Data()) {
		t.Errorf("we read %q, want %q", msg.Payload, e.Data())
	}
}

func TestWeReadTheOfficialSDKsStructuredEvents(t *testing.T) {
	for _, e := range theirEvents(t) {
		text, err := json.Marshal(e)
		must(t, err)
		msg := message.NewMessage("transport", text)
		msg.Metadata["content-type"] = event.ApplicationCloudEventsJSON + "; charset=utf-8"
		decoded, err := cloudevents.Decode(msg)
		must(t, err)
		wantMessage(t, decoded, e)
	}
}

func TestWeReadTheOfficialSDKsBinaryEvents(t *testing.T) {
	for _, e := range theirEvents(t) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://example.com", nil)
		must(t, err)
		must(t, cehttp.WriteRequest(t.Context(), binding.ToMessage(&e), request))
		var body bytes.Buffer
		if request.Body != nil {
			_, err = body.ReadFrom(request.Body)
			must(t, err)
		}
		msg := message.NewMessage("transport", body.Bytes())
		for key := range request.Header {
			name := strings.ToLower(key)
			msg.Metadata[strings.Replace(name, "ce-", "ce_", 1)] = request.Header.Get(key)
		}
		decoded, err := cloudevents.Decode(msg)
		must(t, err)
		wantMessage(t, decoded, e)
	}
}
