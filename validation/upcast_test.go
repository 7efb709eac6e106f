package validation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/memory"
	"github.com/logistically/events/validation"
)

type (
	orderV1 struct {
		ID    string  `json:"id"`
		Total float64 `json:"total"`
	}
	orderV2 struct {
		ID    string `json:"id"`
		Cents int    `json:"cents" schema:"minimum=1"`
	}
	orderV3 struct {
		ID       string `json:"id"`
		Cents    int    `json:"cents" schema:"minimum=1"`
		Currency string `json:"currency" schema:"minLength=3,maxLength=3"`
	}
)

func toV2(_ context.Context, o orderV1) (orderV2, error) {
	return orderV2{o.ID, int(o.Total * 100)}, nil
}
func toV3(_ context.Context, o orderV2) (orderV3, error) {
	return orderV3{o.ID, o.Cents, "EUR"}, nil
}

func TestUpcastTakesABodyThroughItsStepsInOrder(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	if err := errors.Join( // in whatever order they are added
		validation.AddTypedUpcast(r, "order.created", 2, toV3),
		validation.AddTypedUpcast(r, "order.created", 1, toV2),
		r.AddUpcast("late", 2, func(context.Context, []byte) ([]byte, error) { return nil, nil }),
		r.AddUpcast("fails", 1, func(context.Context, []byte) ([]byte, error) { return nil, errors.New("no such customer") }),
		r.AddUpcast("later", 1, func(context.Context, []byte) ([]byte, error) {
			return nil, events.RetryAfter(time.Second, errors.New("busy"))
		}),
		r.AddUpcast("unavailable", 1, func(context.Context, []byte) ([]byte, error) { return nil, validation.ErrUnavailable }),
		r.AddUpcast("panics", 1, func(context.Context, []byte) ([]byte, error) { panic("at the disco") }),
	); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		eventType, version, body string
		upcast, newest, failure  string
		permanent                bool
	}{
		{"order.created", "1.0.0", `{"id":"a","total":1.5}`, `{"id":"a","cents":150,"currency":"EUR"}`, "3.0.0", "", false},
		{"order.created", "", `{"id":"a","total":1.5}`, `{"id":"a","cents":150,"currency":"EUR"}`, "3.0.0", "", false},
		{"order.created", "v2.7", `{"id":"a","cents":1}`, `{"id":"a","cents":1,"currency":"EUR"}`, "3.0.0", "", false},
		{"order.created", "3.1.0", `not even JSON`, `not even JSON`, "3.1.0", "", false},
		{"order.created", "4.0.0", `{}`, "", "", "knows versions up to 3: deploy the consumers before the publishers", true},
		{"order.created", "next", `{}`, "", "", `"next" is no version`, true},
		{"order.created", "1", `[]`, "", "", "from version 1 to 2: decode into validation_test.orderV1", true},
		{"order.paid", "next", `{}`, `{}`, "next", "", false},
		{"late", "1.0.0", `{}`, "", "", "there is no step from 1 to 2", true},
		{"fails", "1.0.0", `{}`, "", "", "from version 1 to 2: no such customer", true},
		{"later", "1.0.0", `{}`, "", "", "busy", false},
		{"unavailable", "1.0.0", `{}`, "", "", "could not be done", false},
		{"panics", "1.0.0", `{}`, "", "", "panic: at the disco", true},
	} {
		body, newest, err := r.Upcast(t.Context(), c.eventType, c.version, []byte(c.body))
		if string(body) != c.upcast || newest != c.newest || (err != nil) != (c.failure != "") || err != nil && !strings.Contains(err.Error(), c.failure) || events.IsPermanent(err) != c.permanent {
			t.Errorf("%s %q %s: got %s %q %v", c.eventType, c.version, c.body, body, newest, err)
		}
	}
	for _, err := range []error{
		r.AddUpcast("order.created", 1, func(context.Context, []byte) ([]byte, error) { return nil, nil }),
		r.AddUpcast("order.created", 0, func(context.Context, []byte) ([]byte, error) { return nil, nil }),
		validation.AddTypedUpcast[orderV1, orderV2](r, "order.created", 5, nil),
	} {
		if _, ok := errors.AsType[*events.ConfigError](err); !ok {
			t.Errorf("got %v", err)
		}
	}
	// Steps are no schema.
	reject := newRegistry(t, validation.Config{Unknown: validation.Reject})
	if err := validation.AddTypedUpcast(reject, "a", 1, toV2); err != nil {
		t.Fatal(err)
	}
	if err := reject.Validate(t.Context(), "a", []byte(`{}`)); err == nil {
		t.Error("a type without schema is known")
	}
}

// Events of three versions are in the stream; a service of version 2 and one of
// version 3 handle them, each in its own version, validated as such.
func TestOldEventsReachNewHandlers(t *testing.T) {
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(version string, body any) {
		t.Helper()
		p, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "shop", Version: version})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(t.Context(), "order.created", body); err != nil {
			t.Fatal(err)
		}
	}
	publish("1.0.0", orderV1{"old", 1.5})
	publish("2.0.0", orderV2{"middle", 250})
	publish("3.0.0", orderV3{"new", 350, "USD"})
	publish("1.0.0", orderV1{"free", 0}) // valid then, invalid now

	v2, v3 := newRegistry(t, validation.Config{}), newRegistry(t, validation.Config{})
	if err := errors.Join(
		validation.AddType[orderV2](v2, "order.created"),
		validation.AddTypedUpcast(v2, "order.created", 1, toV2),
		validation.AddType[orderV3](v3, "order.created"),
		validation.AddTypedUpcast(v3, "order.created", 1, toV2),
		validation.AddTypedUpcast(v3, "order.created", 2, toV3),
	); err != nil {
		t.Fatal(err)
	}
	got, dead := consume[orderV2](t, broker, "service-2", v2, 4)
	if strings.Join(got, " ") != `{"id":"middle","cents":250} {"id":"old","cents":150}` {
		t.Errorf("version 2 handles %s", got)
	}
	wantDead(t, dead, `{"id":"free","total":0}: at /cents: minimum`, `{"id":"new","cents":350,"currency":"USD"}: the body is of version 3, and this service knows versions up to 2`)
	got, dead = consume[orderV3](t, broker, "service-3", v3, 4)
	if strings.Join(got, " ") != `{"id":"middle","cents":250,"currency":"EUR"} {"id":"new","cents":350,"currency":"USD"} {"id":"old","cents":150,"currency":"EUR"}` {
		t.Errorf("version 3 handles %s", got)
	}
	wantDead(t, dead, `{"id":"free","total":0}: at /cents: minimum`)
	gap := newRegistry(t, validation.Config{})
	if err := validation.AddTypedUpcast(gap, "order.created", 2, toV3); err != nil {
		t.Fatal(err)
	}
	got, dead = consume[orderV3](t, broker, "service-with-a-gap", gap, 4)
	if len(got) != 2 {
		t.Errorf("with a gap handles %s", got)
	}
	const missing = `: there is no step from 1 to 2: add it with AddUpcast`
	wantDead(t, dead, `{"id":"free","total":0}`+missing, `{"id":"old","total":1.5}`+missing)
}

// wantDead compares dead letters: the original body, and a part of the reason.
func wantDead(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("dead letters %q, want %q", got, want)
		return
	}
	for i, w := range want {
		body, reason, _ := strings.Cut(w, ": ")
		if !strings.HasPrefix(got[i], body+": ") || !strings.Contains(got[i], reason) {
			t.Errorf("dead letter %s, want %s", got[i], w)
		}
	}
}

// consume runs a service until it has handled or given up n events, and
// returns both, sorted.
func consume[T any](t *testing.T, broker *memory.Broker, group string, registry *validation.Registry, n int) (handled, dead []string) {
	t.Helper()
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: group})
	if err != nil {
		t.Fatal(err)
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"order-events"}, Concurrency: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	upcast, err := middleware.Upcast(registry)
	if err != nil {
		t.Fatal(err)
	}
	validate, err := middleware.Validation(registry, middleware.ValidationConfig{})
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct{ handled, dead string }
	outcomes := make(chan outcome, n)
	// Outside of both: what a dead letter would hold.
	r.Use(func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			produced, err := next(msg)
			if err != nil {
				if !events.IsPermanent(err) {
					t.Errorf("%s is to be retried: %v", msg.Payload, err)
				}
				outcomes <- outcome{dead: fmt.Sprintf("%s: %v", msg.Payload, err)}
			}
			return produced, err
		}
	}, upcast, validate)
	if err := router.Handle(r, "order.created", func(_ context.Context, e events.Event[T]) error {
		body, err := json.Marshal(e.Body)
		outcomes <- outcome{handled: string(body)}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for range n {
		select {
		case o := <-outcomes:
			if o.dead != "" {
				dead = append(dead, o.dead)
			} else {
				handled = append(handled, o.handled)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no event in 20 s")
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	slices.Sort(handled)
	slices.Sort(dead)
	return handled, dead
}

func ExampleRegistry_AddUpcast() {
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = r.AddUpcast("user.created", 1, func(_ context.Context, body []byte) ([]byte, error) {
		var user map[string]string
		if err := json.Unmarshal(body, &user); err != nil {
			return nil, err
		}
		user["locale"] = "en"
		return json.Marshal(user)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, version, err := r.Upcast(ctx, "user.created", "1.0.0", []byte(`{"id":"7"}`))
	fmt.Println(string(body), version, err)
	_, _, err = r.Upcast(ctx, "user.created", "3.0.0", []byte(`{"id":"7"}`))
	fmt.Println(err)
	// Output:
	// {"id":"7","locale":"en"} 2.0.0 <nil>
	// validation: upcast user.created: no way to the newest version: the body is of version 3, and this service knows versions up to 2: deploy the consumers before the publishers
}

func ExampleAddTypedUpcast() {
	type v1 struct{ Name string }
	type v2 struct{ First, Last string }
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = validation.AddTypedUpcast(r, "user.created", 1, func(_ context.Context, old v1) (v2, error) {
		first, last, _ := strings.Cut(old.Name, " ")
		return v2{first, last}, nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, version, err := r.Upcast(ctx, "user.created", "1.0.0", []byte(`{"Name":"Ada Lovelace"}`))
	fmt.Println(string(body), version, err)
	// Output:
	// {"First":"Ada","Last":"Lovelace"} 2.0.0 <nil>
}
