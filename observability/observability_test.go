package observability_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/observability"
	"github.com/logistically/events/transport/memory"
	"github.com/logistically/events/validation"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func schemas() (*validation.Registry, error) {
	r, err := validation.NewRegistry(validation.Config{Unknown: validation.Reject})
	return r, errors.Join(err,
		validation.AddType[observability.Log](r, observability.TypeLog),
		validation.AddType[observability.Metric](r, observability.TypeMetric),
		validation.AddType[observability.Audit](r, observability.TypeAudit),
		validation.AddType[observability.Security](r, observability.TypeSecurity),
	)
}

func open() (*memory.Broker, *observability.Publisher, error) {
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, pubErr := memory.NewPublisher(broker)
	registry, schemaErr := schemas()
	typed, typedErr := events.NewPublisher(pub, events.PublisherConfig{Origin: "user-service", Validator: registry})
	p, err := observability.NewPublisher(typed, "user-service")
	return broker, p, errors.Join(pubErr, schemaErr, typedErr, err)
}

func ExamplePublisher() {
	broker, p, err := open()
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	err = errors.Join(
		p.Log(ctx, observability.Log{Level: observability.Info, Message: "started"}),
		p.Metric(ctx, observability.Metric{Metric: "signup", Value: 1, Labels: map[string]string{"plan": "free"}}),
		p.Audit(ctx, observability.Audit{ActorID: "admin", Action: "user.deleted", TargetID: "42"}),
		p.Security(ctx, observability.Security{EventType: "unauthorized_access", Severity: observability.High}),
	)
	if err != nil {
		panic(err)
	}
	for _, msg := range broker.Messages("observability-events") {
		fmt.Println(events.HeaderOf(msg).Type, string(msg.Payload))
	}
	// Output:
	// observability.log {"level":"info","message":"started","service":"user-service"}
	// observability.metric {"metric":"signup","value":1,"labels":{"plan":"free"},"service":"user-service"}
	// observability.audit {"actorId":"admin","action":"user.deleted","targetId":"42","service":"user-service"}
	// observability.security {"eventType":"unauthorized_access","severity":"high","service":"user-service"}
}

func TestAServiceMayBeNamedByTheEvent(t *testing.T) {
	broker, p, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Metric(t.Context(), observability.Metric{Metric: "m", Service: "other"}); err != nil {
		t.Fatal(err)
	}
	var body observability.Metric
	if err := json.Unmarshal(broker.Messages("observability-events")[0].Payload, &body); err != nil || body.Service != "other" {
		t.Errorf("got %+v, %v", body, err)
	}
}

func TestALevelOrSeverityThatDoesNotExistIsRefused(t *testing.T) {
	broker, p, err := open()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		p.Log(t.Context(), observability.Log{Message: "no level"}),
		p.Log(t.Context(), observability.Log{Level: "fatal"}),
		p.Security(t.Context(), observability.Security{EventType: "x", Severity: "terrible"}),
	} {
		if !events.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
	}
	if n := len(broker.Messages("observability-events")); n != 0 {
		t.Errorf("%d were published", n)
	}
}

func TestBodiesOfTheTypeScriptLibraryPassTheirSchemas(t *testing.T) {
	registry, err := schemas()
	if err != nil {
		t.Fatal(err)
	}
	// As its own tests publish them.
	for eventType, body := range map[string]string{
		observability.TypeLog:      `{"level":"info","message":"test","service":"test-service"}`,
		observability.TypeMetric:   `{"metric":"signup","value":1,"service":"test-service"}`,
		observability.TypeAudit:    `{"actorId":"admin","action":"user.deleted","service":"test-service"}`,
		observability.TypeSecurity: `{"eventType":"unauthorized_access","service":"test-service"}`,
	} {
		if err := registry.Validate(t.Context(), eventType, []byte(body)); err != nil {
			t.Error(err)
		}
		if err := registry.Validate(t.Context(), eventType, []byte(`{}`)); err == nil {
			t.Errorf("an empty %s is accepted", eventType)
		}
	}
}

func TestNewPublisherRefusesWhatCannotBe(t *testing.T) {
	_, noNext := observability.NewPublisher(nil, "s")
	_, noService := observability.NewPublisher(new(events.Publisher), "")
	for _, err := range []error{noNext, noService} {
		if _, ok := errors.AsType[*events.ConfigError](err); !ok {
			t.Errorf("got %v", err)
		}
	}
}
