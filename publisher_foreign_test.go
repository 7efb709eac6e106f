package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// Code that is not ours may panic, keep what it was given, or be a nil pointer
// in an interface.

type panics struct{}

func (panics) MarshalJSON() ([]byte, error)                   { panic("ouch") }
func (panics) Validate(context.Context, string, []byte) error { panic("ouch") }
func (panics) Schema(string) ([]byte, bool)                   { return nil, false }
func (panics) Publish(string, ...*message.Message) error      { panic("ouch") }
func (panics) Close() error                                   { return nil }
func (*panics) Marshal(any) ([]byte, error)                   { panic("ouch") }
func (*panics) Unmarshal([]byte, any) error                   { panic("ouch") }

func TestAPanicOnTheWayIsAnErrorOfPublish(t *testing.T) {
	for name, tt := range map[string]struct {
		out  message.Publisher
		cfg  events.PublisherConfig
		body any
	}{
		"body":              {out: &sink{}, body: panics{}},
		"codec":             {out: &sink{}, cfg: events.PublisherConfig{Codec: &panics{}}},
		"validator":         {out: &sink{}, cfg: events.PublisherConfig{Validator: panics{}}},
		"topic":             {out: &sink{}, cfg: events.PublisherConfig{Topic: func(string) string { panic("ouch") }}},
		"publisher beneath": {out: panics{}},
	} {
		err := newPublisher(t, tt.out, tt.cfg).Publish(t.Context(), "user.created", tt.body)
		p, ok := errors.AsType[*events.PanicError](err)
		if !ok || p.Value != "ouch" || len(p.Stack) == 0 || !strings.Contains(err.Error(), "user.created") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestPublishRefusesANilContext(t *testing.T) {
	var none context.Context
	err := newPublisher(t, &sink{}, events.PublisherConfig{}).Publish(none, "user.created", 1)
	const want = "events: publish user.created: the context is nil: pass the handler's, or context.Background()"
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v, want\n%s", err, want)
	}
}

func TestNewPublisherRefusesNilPointers(t *testing.T) {
	for field, new := range map[string]func() (*events.Publisher, error){
		"events.NewPublisher next": func() (*events.Publisher, error) {
			return events.NewPublisher((*sink)(nil), events.PublisherConfig{Origin: "o"})
		},
		"events.PublisherConfig.Validator": func() (*events.Publisher, error) {
			return events.NewPublisher(&sink{}, events.PublisherConfig{Origin: "o", Validator: (*refuseAll)(nil)})
		},
		"events.PublisherConfig.Codec": func() (*events.Publisher, error) {
			return events.NewPublisher(&sink{}, events.PublisherConfig{Origin: "o", Codec: (*panics)(nil)})
		},
	} {
		_, err := new()
		if got, ok := errors.AsType[*events.ConfigError](err); !ok || got.Field != field || got.Remedy == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestABodyThatIsJSONMayBeChangedAfterPublish(t *testing.T) {
	const sent = `{"id":1}`
	for name, body := range map[string]func(raw []byte) any{
		"bytes":   func(raw []byte) any { return raw },
		"message": func(raw []byte) any { return json.RawMessage(raw) },
	} {
		out, raw := &sink{}, []byte(sent)
		if err := newPublisher(t, out, events.PublisherConfig{}).Publish(t.Context(), "user.created", body(raw)); err != nil {
			t.Fatal(err)
		}
		copy(raw, `{"id":2}`)
		if got := string(out.messages[0].Payload); got != sent {
			t.Errorf("%s: payload %s, want %s", name, got, sent)
		}
	}
}

func TestAnEventCausedByOneWithoutIDIsItsOwnCorrelation(t *testing.T) {
	out := &sink{}
	ctx := events.ContextWithHeader(t.Context(), events.Header{Type: "from.afar"})
	if err := newPublisher(t, out, events.PublisherConfig{}).Publish(ctx, "user.created", 1); err != nil {
		t.Fatal(err)
	}
	if h := events.HeaderOf(out.messages[0]); h.CorrelationID != h.ID || h.CausationID != "" {
		t.Errorf("header %+v", h)
	}
}
