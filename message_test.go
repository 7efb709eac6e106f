package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/logistically/events"
)

// Whatever the number of bodies, their messages are those that Message makes.
func TestMessagesAreThoseThatMessageMakes(t *testing.T) {
	p := newPublisher(t, &sink{}, events.PublisherConfig{Version: "2"})
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	inHandler := events.ContextWithHeader(t.Context(), events.Header{ID: "cause", CorrelationID: "first", TraceParent: "00-x-y-01", TraceState: "k=v"})
	for _, n := range []int{0, 1, 2, 63, 64, 65, 128, 1 + random.IntN(1000)} {
		for name, ctx := range map[string]context.Context{"alone": t.Context(), "in a handler": inHandler} {
			bodies := make([]userCreated, n)
			for i := range bodies {
				bodies[i] = userCreated{UserID: fmt.Sprint(random.IntN(1e6)), Note: strings.Repeat("n", random.IntN(100))}
			}
			msgs, err := events.Messages(ctx, p, "user.created", bodies)
			if err != nil || len(msgs) != n {
				t.Fatalf("%s, %d bodies: %d messages, error %v (seed %d)", name, n, len(msgs), err, seed)
			}
			last := ""
			for i, msg := range msgs {
				one, err := p.Message(ctx, "user.created", bodies[i])
				if err != nil {
					t.Fatal(err)
				}
				got, want := events.HeaderOf(msg), events.HeaderOf(one)
				if id, err := uuid.Parse(got.ID); err != nil || id.Version() != 7 || got.ID <= last {
					t.Fatalf("%s, message %d of %d: id %q after %q is no later UUIDv7 (seed %d)", name, i, n, got.ID, last, seed)
				}
				last = got.ID
				if got.Time.IsZero() || got.Time.Location() != time.UTC {
					t.Fatalf("%s, message %d of %d: time %v (seed %d)", name, i, n, got.Time, seed)
				}
				if want.CorrelationID == want.ID {
					want.CorrelationID = got.ID
				}
				want.ID, want.Time = got.ID, got.Time
				if got != want || string(msg.Payload) != string(one.Payload) || msg.Context() != ctx || len(msg.Metadata) != len(one.Metadata) {
					t.Fatalf("%s, message %d of %d: %+v %s, want %+v %s (seed %d)", name, i, n, got, msg.Payload, want, one.Payload, seed)
				}
			}
		}
	}
}

func TestPublishAllIsOneCallInOrder(t *testing.T) {
	out := &calls{}
	p := newPublisher(t, out, events.PublisherConfig{})
	if err := events.PublishAll(t.Context(), p, "user.created", []userCreated{{UserID: "1"}, {UserID: "2"}, {UserID: "3"}}); err != nil {
		t.Fatal(err)
	}
	if err := events.PublishAll(t.Context(), p, "user.created", []userCreated(nil)); err != nil {
		t.Fatal(err)
	}
	want := []string{`user-events {"userId":"1"} {"userId":"2"} {"userId":"3"}`}
	if !slices.Equal(out.made, want) {
		t.Errorf("calls %q, want %q", out.made, want)
	}
}

// calls keeps what each call of Publish had.
type calls struct{ made []string }

func (c *calls) Publish(topic string, msgs ...*message.Message) error {
	for _, msg := range msgs {
		topic += " " + string(msg.Payload)
	}
	c.made = append(c.made, topic)
	return nil
}

func (c *calls) Close() error { return nil }

type panicky struct{}

func (panicky) MarshalJSON() ([]byte, error) { panic("no JSON") }

func TestPublishAllPublishesNothingIfOneBodyIsRefused(t *testing.T) {
	ended, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	invalid := &events.ValidationError{Type: "user.created"}
	for name, tt := range map[string]struct {
		ctx    context.Context
		cfg    events.PublisherConfig
		kind   string
		bodies []any
		want   error  // nil: any
		text   string // of the error
	}{
		"invalid":      {kind: "user.created", cfg: events.PublisherConfig{Validator: refuseAll{invalid}}, bodies: []any{1}, want: invalid, text: "bodies[0] of 1"},
		"not JSON":     {kind: "user.created", bodies: []any{1, json.RawMessage("{")}, text: "bodies[1] of 2"},
		"too large":    {kind: "user.created", cfg: events.PublisherConfig{MaxBodyBytes: 10}, bodies: []any{1, 2, strings.Repeat("x", 9)}, want: events.ErrTooLarge, text: "bodies[2] of 3"},
		"far behind":   {kind: "user.created", bodies: append(slices.Repeat([]any{1}, 100), func() {}), text: "bodies[100] of 101"},
		"panic":        {kind: "user.created", bodies: []any{1, panicky{}}, text: "no JSON"},
		"type":         {kind: "user.*", bodies: []any{1}, text: "wildcard"},
		"ended":        {ctx: ended, kind: "user.created", bodies: []any{1}, want: why, text: "user.created"},
		"no transport": {kind: "user.created", bodies: []any{1}, want: errDown, text: `publish 1 user.created to "user-events"`},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.ctx == nil {
				tt.ctx = t.Context()
			}
			out := &sink{}
			if tt.want == errDown {
				out.err = errDown
			}
			err := events.PublishAll(tt.ctx, newPublisher(t, out, tt.cfg), tt.kind, tt.bodies)
			if err == nil || !strings.Contains(err.Error(), tt.text) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want one with %q that is %v", err, tt.text, tt.want)
			}
			if len(out.messages) > 0 {
				t.Errorf("published %d messages", len(out.messages))
			}
		})
	}
	var none context.Context
	if err := events.PublishAll(none, newPublisher(t, &sink{}, events.PublisherConfig{}), "user.created", []int{1}); err == nil {
		t.Error("a nil context is accepted")
	}
}

var errDown = errors.New("down")

// Of each body can be told what became of it.
func TestMessagesAndFailedOfTellWhichBodiesFailed(t *testing.T) {
	p := newPublisher(t, &sink{}, events.PublisherConfig{})
	msgs, err := events.Messages(t.Context(), p, "user.created", []int{0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	err = &events.PublishError{Topic: "user-events", Total: 3, Failed: []events.FailedMessage{{Message: msgs[1], Err: errDown}}}
	if errs, ok := events.FailedOf(err, msgs); !ok || errs[0] != nil || errs[1] != errDown || errs[2] != nil {
		t.Errorf("errors %v, %t", errs, ok)
	}
}
