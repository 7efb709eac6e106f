package validation_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport/console"
	"github.com/logistically/events/validation"
)

// users is a registry that knows one type.
func users() *validation.Registry {
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		panic(err)
	}
	if err := r.AddSchema("user.created", []byte(`{"type":"object","required":["id"],"properties":{"id":{"type":"string"}}}`)); err != nil {
		panic(err)
	}
	return r
}

// bare logs without time, so that the examples have the same output every day.
func bare() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "event" {
			return slog.Attr{}
		}
		return a
	}}))
}

// publish publishes a user without an id.
func publish(mode events.ValidationMode) {
	transport, err := console.NewPublisher(console.PublisherConfig{Writer: discard{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	publisher, err := events.NewPublisher(transport, events.PublisherConfig{Origin: "users", Validator: users(), Validation: mode, Logger: bare()})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = publisher.Publish(ctx, "user.created", map[string]any{"name": "Ada"})
	fmt.Println("error:", err)
	_, invalid := errors.AsType[*events.ValidationError](err)
	fmt.Println("refused:", invalid)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// handle handles a user without an id.
func handle(mode events.ValidationMode) {
	validate, err := middleware.Validation(users(), middleware.ValidationConfig{Mode: mode, Logger: bare()})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := validate(func(msg *message.Message) ([]*message.Message, error) {
		fmt.Println("handled:", string(msg.Payload))
		return nil, nil
	})
	msg := message.NewMessage("42", []byte(`{"name":"Ada"}`))
	msg.Metadata[events.MetadataType] = "user.created"
	_, err = handler(msg)
	fmt.Println("error:", err)
	fmt.Println("dead letter:", events.IsPermanent(err))
}

func Example_publishStrict() {
	publish(events.Strict)
	// Output:
	// error: events: publish refused: event "user.created" is not valid: at body: missing property 'id' (required)
	// refused: true
}

func Example_publishWarn() {
	publish(events.Warn)
	// Output:
	// level=WARN msg="event breaks its schema and is published all the same" type=user.created error="event \"user.created\" is not valid: at body: missing property 'id' (required)"
	// error: <nil>
	// refused: false
}

func Example_publishIgnore() {
	publish(events.Ignore)
	// Output:
	// error: <nil>
	// refused: false
}

func Example_consumeStrict() {
	handle(events.Strict)
	// Output:
	// error: middleware: validation of user.created 42: event "user.created" is not valid: at body: missing property 'id' (required)
	// dead letter: true
}

func Example_consumeWarn() {
	handle(events.Warn)
	// Output:
	// level=WARN msg="event breaks its schema and is handled all the same" type=user.created error="event \"user.created\" is not valid: at body: missing property 'id' (required)"
	// handled: {"name":"Ada"}
	// error: <nil>
	// dead letter: false
}

func Example_consumeIgnore() {
	handle(events.Ignore)
	// Output:
	// handled: {"name":"Ada"}
	// error: <nil>
	// dead letter: false
}

func Example_unknownTypes() {
	for _, policy := range []validation.UnknownPolicy{validation.Accept, validation.Reject} {
		r, err := validation.NewRegistry(validation.Config{Unknown: policy})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(r.Validate(ctx, "never.heard.of", []byte(`{}`)))
	}
	// Output:
	// <nil>
	// event "never.heard.of" is not valid: at body: no schema for this event type: add one, or set validation.Config.Unknown to Accept (type)
}
