package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func ExampleValidation() {
	// Any events.Validator will do; package validation has those of JSON Schema.
	v := validatorFunc(func(_ context.Context, eventType string, body []byte) error {
		if strings.Contains(string(body), "email") {
			return nil
		}
		return &events.ValidationError{Type: eventType, Findings: []events.Finding{{Rule: "required", Message: "email is missing"}}}
	})
	validation, err := middleware.Validation(v, middleware.ValidationConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	handle := validation(func(*message.Message) ([]*message.Message, error) {
		fmt.Println("never reached")
		return nil, nil
	})

	msg := message.NewMessage("42", []byte(`{"name":"Ada"}`))
	msg.Metadata[events.MetadataType] = "user.created"
	_, err = handle(msg)
	fmt.Println(err)
	fmt.Println("permanent:", events.IsPermanent(err))
	// Output:
	// middleware: validation of user.created 42: event "user.created" is not valid: at body: email is missing (required)
	// permanent: true
}

func ExampleUpcast() {
	// Any events.Upcaster will do; package validation's registry is one.
	u := upcasterFunc(func(eventType, version string, body []byte) ([]byte, string, error) {
		if version == "1.0.0" {
			return []byte(`{"first":"Ada","last":"Lovelace"}`), "2.0.0", nil
		}
		return body, version, nil
	})
	upcast, err := middleware.Upcast(u)
	if err != nil {
		fmt.Println(err)
		return
	}
	handle := upcast(func(msg *message.Message) ([]*message.Message, error) {
		fmt.Println("inside:", events.HeaderOf(msg).Version, string(msg.Payload))
		return nil, nil
	})

	msg := message.NewMessage("42", []byte(`{"name":"Ada Lovelace"}`))
	msg.Metadata[events.MetadataVersion] = "1.0.0"
	if _, err := handle(msg); err != nil {
		fmt.Println(err)
	}
	fmt.Println("outside:", events.HeaderOf(msg).Version, string(msg.Payload))
	// Output:
	// inside: 2.0.0 {"first":"Ada","last":"Lovelace"}
	// outside: 1.0.0 {"name":"Ada Lovelace"}
}

func ExampleIdempotency() {
	store, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	idempotency, err := middleware.Idempotency(middleware.IdempotencyConfig{Store: store, Scope: "billing"})
	if err != nil {
		fmt.Println(err)
		return
	}
	attempt := 0
	charge := idempotency(func(msg *message.Message) ([]*message.Message, error) {
		if attempt++; attempt == 1 {
			return nil, errors.New("card service is down")
		}
		fmt.Println("charged for", msg.UUID)
		return nil, nil
	})

	// The first delivery fails, so the second runs the handler again. The third
	// is a duplicate of what was done.
	for range 3 {
		_, err := charge(message.NewMessage("order-7", nil))
		fmt.Println("error:", err)
	}
	// Output:
	// error: card service is down
	// charged for order-7
	// error: <nil>
	// error: <nil>
}

func ExampleRetry() {
	retry, err := middleware.Retry(middleware.RetryConfig{InitialInterval: time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	runs := 0
	handle := retry(func(*message.Message) ([]*message.Message, error) {
		if runs++; runs < 3 {
			return nil, errors.New("connection refused")
		}
		return nil, nil
	})
	_, err = handle(message.NewMessage("1", nil))
	fmt.Println(runs, "runs, error:", err)

	handle = retry(func(*message.Message) ([]*message.Message, error) { return nil, errors.New("connection refused") })
	_, err = handle(message.NewMessage("2", nil))
	fmt.Println(err)
	// Output:
	// 3 runs, error: <nil>
	// after 3 attempts: connection refused
}

func ExamplePoisonQueue() {
	dead := &recorder{} // any message.Publisher
	poison, err := middleware.PoisonQueue(middleware.PoisonConfig{Publisher: dead, Topic: transport.DeadLetterTopic("user-events")})
	if err != nil {
		fmt.Println(err)
		return
	}
	handle := poison(func(*message.Message) ([]*message.Message, error) { return nil, errors.New("no such account") })

	_, err = handle(message.NewMessage("42", nil))
	fmt.Println("error:", err)
	fmt.Println(dead.topics[0], dead.messages[0].UUID, dead.messages[0].Metadata[transport.MetadataFailureReason])
	// Output:
	// error: <nil>
	// {user-events}:dead-letters 42 no such account
}

func ExampleTracing() {
	exporter := tracetest.NewInMemoryExporter() // in a service, one of OTLP
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	cfg := middleware.TracingConfig{TracerProvider: provider, System: "redis"}

	broker := &recorder{} // any message.Publisher
	publisher, err := middleware.TracePublisher(broker, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := publisher.Publish("user-events", message.NewMessage("1", nil)); err != nil {
		fmt.Println(err)
	}
	handle := middleware.Tracing(cfg)(func(msg *message.Message) ([]*message.Message, error) {
		mail := message.NewMessage("2", nil)
		mail.SetContext(msg.Context()) // events.Publisher does this by itself
		return nil, publisher.Publish("mail-events", mail)
	})
	if _, err := handle(broker.messages[0]); err != nil {
		fmt.Println(err)
	}

	trace := exporter.GetSpans()[0].SpanContext.TraceID()
	for _, span := range exporter.GetSpans() {
		fmt.Println(span.SpanKind, span.Name, "same trace:", span.SpanContext.TraceID() == trace)
	}
	// Output:
	// producer publish user-events same trace: true
	// producer publish mail-events same trace: true
	// consumer process same trace: true
}

func ExampleTracePublisher() {
	// Without a TracerProvider nothing is recorded, and traces are passed on.
	broker := &recorder{}
	publisher, err := middleware.TracePublisher(broker, middleware.TracingConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	msg := message.NewMessage("1", nil)
	msg.Metadata[events.MetadataTraceParent] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if err := publisher.Publish("user-events", msg); err != nil {
		fmt.Println(err)
	}
	fmt.Println(events.HeaderOf(broker.messages[0]).TraceParent)
	// Output:
	// 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
}
