package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/logistically/events"
)

// sink keeps what is published to it.
type sink struct {
	topics   []string
	messages []*message.Message
	err      error
}

func (s *sink) Publish(topic string, msgs ...*message.Message) error {
	if s.err != nil {
		return s.err
	}
	for _, m := range msgs {
		s.topics = append(s.topics, topic)
		s.messages = append(s.messages, m)
	}
	return nil
}

func (s *sink) Close() error { return nil }

type userCreated struct {
	UserID string `json:"userId"`
	Note   string `json:"note,omitempty"`
}

func newPublisher(t testing.TB, out message.Publisher, cfg events.PublisherConfig) *events.Publisher {
	t.Helper()
	if cfg.Origin == "" {
		cfg.Origin = "user-service"
	}
	p, err := events.NewPublisher(out, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPublishWritesACompleteHeader(t *testing.T) {
	out := &sink{}
	p := newPublisher(t, out, events.PublisherConfig{})
	before := time.Now().Add(-time.Millisecond)
	if err := p.Publish(t.Context(), "user.created", userCreated{UserID: "1", Note: "a<b"}); err != nil {
		t.Fatal(err)
	}
	h := events.HeaderOf(out.messages[0])
	id, err := uuid.Parse(h.ID)
	if err != nil || id.Version() != 7 {
		t.Errorf("id %q is no UUIDv7: %v", h.ID, err)
	}
	const body = `{"userId":"1","note":"a<b"}`
	if got := string(out.messages[0].Payload); got != body {
		t.Errorf("payload %s, want %s", got, body)
	}
	if h.Time.Before(before) || h.Time.After(time.Now()) || h.Time.Location() != time.UTC {
		t.Errorf("time %v", h.Time)
	}
	want := events.Header{
		ID: h.ID, Time: h.Time, Type: "user.created", Origin: "user-service",
		Hash: events.Hash([]byte(body)), Version: events.DefaultVersion, CorrelationID: h.ID,
	}
	if h != want {
		t.Errorf("header\n%+v, want\n%+v", h, want)
	}
	if out.topics[0] != "user-events" {
		t.Errorf("topic %q", out.topics[0])
	}
}

func TestHeaderSurvivesTheMessage(t *testing.T) {
	h := events.Header{
		ID: "1", Type: "a.b", Origin: "o", Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Hash: "h", Version: "2",
		CorrelationID: "c", CausationID: "d", TraceParent: "p", TraceState: "s",
	}
	msg := message.NewMessage("", nil)
	events.SetHeader(msg, h)
	if got := events.HeaderOf(msg); got != h {
		t.Errorf("got %+v, want %+v", got, h)
	}
}

func TestPublishingInsideAHandlerCarriesCorrelationCausationAndTrace(t *testing.T) {
	cause := events.Header{ID: "second", CorrelationID: "first", TraceParent: "00-x-y-01", TraceState: "k=v"}
	out := &sink{}
	p := newPublisher(t, out, events.PublisherConfig{})
	if err := p.Publish(events.ContextWithHeader(t.Context(), cause), "user.created", nil); err != nil {
		t.Fatal(err)
	}
	h := events.HeaderOf(out.messages[0])
	if h.CorrelationID != "first" || h.CausationID != "second" || h.TraceParent != cause.TraceParent || h.TraceState != cause.TraceState {
		t.Errorf("header %+v", h)
	}
	// An event of a plain Watermill publisher has no correlation: it becomes one.
	if err := p.Publish(events.ContextWithHeader(t.Context(), events.Header{ID: "plain"}), "user.created", nil); err != nil {
		t.Fatal(err)
	}
	if h := events.HeaderOf(out.messages[1]); h.CorrelationID != "plain" || h.CausationID != "plain" {
		t.Errorf("header %+v", h)
	}
}

type refuseAll struct{ err error }

func (v refuseAll) Validate(context.Context, string, []byte) error { return v.err }
func (refuseAll) Schema(string) ([]byte, bool)                     { return nil, false }

func TestValidationModes(t *testing.T) {
	invalid := &events.ValidationError{Type: "user.created", Findings: []events.Finding{{Pointer: "/userId", Rule: "type", Message: "got number, want string"}}}
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for _, tt := range []struct {
		mode      events.ValidationMode
		published bool
		logged    bool
	}{{events.Strict, false, false}, {events.Warn, true, true}, {events.Ignore, true, false}} {
		out := &sink{}
		log.Reset()
		p := newPublisher(t, out, events.PublisherConfig{Validator: refuseAll{invalid}, Validation: tt.mode, Logger: logger})
		err := p.Publish(t.Context(), "user.created", 1)
		if published := len(out.messages) == 1; published != tt.published || published != (err == nil) {
			t.Errorf("%s: published %v, error %v", tt.mode, published, err)
		}
		if got, ok := errors.AsType[*events.ValidationError](err); !tt.published && (!ok || got != invalid) {
			t.Errorf("%s: error %v", tt.mode, err)
		}
		if logged := strings.Contains(log.String(), "/userId"); logged != tt.logged {
			t.Errorf("%s: logged %q", tt.mode, log.String())
		}
	}
}

func TestAValidatorThatFailsPublishesNothing(t *testing.T) {
	down := errors.New("user store is down")
	for _, mode := range []events.ValidationMode{events.Strict, events.Warn} {
		out := &sink{}
		p := newPublisher(t, out, events.PublisherConfig{Validator: refuseAll{down}, Validation: mode})
		if err := p.Publish(t.Context(), "user.created", 1); !errors.Is(err, down) || len(out.messages) != 0 {
			t.Errorf("%s: error %v, %d published", mode, err, len(out.messages))
		}
	}
}

func TestPublishRefusesWhatCannotBeAnEvent(t *testing.T) {
	cancelled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("shutting down"))
	for name, tt := range map[string]struct {
		ctx  context.Context
		typ  string
		body any
		want string
	}{
		"empty type":     {t.Context(), "", 1, `events: the event type is empty: name what happened, such as "user.created"`},
		"wildcard":       {t.Context(), "user.*", 1, `events: event type "user.*" holds a space or a wildcard: use segments of other characters, separated by dots`},
		"empty segment":  {t.Context(), "user..created", 1, `events: event type "user..created" has an empty segment: separate non-empty segments by single dots`},
		"too large":      {t.Context(), "user.created", strings.Repeat("x", 100), `events: publish user.created: body over the size limit: 102 bytes, at most 64: publish a reference to the data, or raise PublisherConfig.MaxBodyBytes`},
		"not encodable":  {t.Context(), "user.created", make(chan int), `events: encode user.created: json: unsupported type: chan int`},
		"broken raw":     {t.Context(), "user.created", json.RawMessage(`{"a":`), `events: encode user.created: unexpected end of JSON input`},
		"context at end": {cancelled, "user.created", 1, `events: publish user.created: shutting down`},
	} {
		out := &sink{}
		err := newPublisher(t, out, events.PublisherConfig{MaxBodyBytes: 64}).Publish(tt.ctx, tt.typ, tt.body)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: error\n%v, want\n%s", name, err, tt.want)
		}
		if len(out.messages) != 0 {
			t.Errorf("%s: published", name)
		}
	}
}

func TestPublishErrorNamesTypeIDAndTopic(t *testing.T) {
	down := errors.New("connection refused")
	err := newPublisher(t, &sink{err: down}, events.PublisherConfig{}).Publish(t.Context(), "user.created", 1)
	if !errors.Is(err, down) || !strings.Contains(err.Error(), "user.created") || !strings.Contains(err.Error(), `"user-events"`) {
		t.Errorf("error %v", err)
	}
}

func TestNewPublisherRefusesWrongSettings(t *testing.T) {
	for field, cfg := range map[string]events.PublisherConfig{
		"events.PublisherConfig.Origin":       {},
		"events.PublisherConfig.MaxBodyBytes": {Origin: "o", MaxBodyBytes: -1},
		"events.PublisherConfig.Validation":   {Origin: "o", Validation: 7},
	} {
		_, err := events.NewPublisher(&sink{}, cfg)
		if got, ok := errors.AsType[*events.ConfigError](err); !ok || got.Field != field || got.Remedy == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := events.NewPublisher(nil, events.PublisherConfig{Origin: "o"}); err == nil {
		t.Error("nil publisher accepted")
	}
}

func TestDecodeFailureIsPermanent(t *testing.T) {
	msg := message.NewMessage("1", []byte(`{"userId":7}`))
	_, err := events.Decode[userCreated](msg, nil)
	if !events.IsPermanent(err) {
		t.Errorf("error %v", err)
	}
	msg.Payload = []byte(`{"userId":"7"}`)
	if ev, err := events.Decode[userCreated](msg, nil); err != nil || ev.Body.UserID != "7" || ev.ID != "1" {
		t.Errorf("event %+v, error %v", ev, err)
	}
}
