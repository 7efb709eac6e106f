// Package observability has events by which a service tells others what goes on
// in it: log lines, metrics, and what an audit or a security officer must see. They
// are events like any other: validated, routed, stored and handled.
//
// They are for what must be kept or acted on. For the logs and metrics of
// operation use log/slog and OpenTelemetry, which may lose some.
//
// Bodies are as @logistically/events' ObservabilityEventPublisher writes them. Their
// struct tags are those of validation.SchemaOf, so that both sides may check them:
//
//	err := errors.Join(
//		validation.AddType[observability.Log](registry, observability.TypeLog),
//		validation.AddType[observability.Metric](registry, observability.TypeMetric),
//		validation.AddType[observability.Audit](registry, observability.TypeAudit),
//		validation.AddType[observability.Security](registry, observability.TypeSecurity),
//	)
package observability

import (
	"cmp"
	"context"
	"fmt"

	"github.com/logistically/events"
)

// Types of the events. Their topic is "observability-events".
const (
	TypeLog      = "observability.log"
	TypeMetric   = "observability.metric"
	TypeAudit    = "observability.audit"
	TypeSecurity = "observability.security"
)

// Level is how much a log line matters.
type Level string

// Levels of a Log.
const (
	Debug Level = "debug"
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"
)

// Severity is how bad a security event is.
type Severity string

// Severities of a Security event.
const (
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// Log is the body of a TypeLog event.
type Log struct {
	Level   Level          `json:"level" schema:"enum=debug|info|warn|error"`
	Message string         `json:"message"`
	Service string         `json:"service"` // empty means that of the Publisher
	Context map[string]any `json:"context,omitempty"`
	TraceID string         `json:"traceId,omitempty"`
	SpanID  string         `json:"spanId,omitempty"`
}

// Metric is the body of a TypeMetric event: one value of a metric.
type Metric struct {
	Metric  string            `json:"metric"`
	Value   float64           `json:"value"`
	Labels  map[string]string `json:"labels,omitempty"`
	Service string            `json:"service"` // empty means that of the Publisher
}

// Audit is the body of a TypeAudit event: who did what to what.
type Audit struct {
	ActorID  string         `json:"actorId"`
	Action   string         `json:"action"`
	TargetID string         `json:"targetId,omitempty"`
	Details  map[string]any `json:"details,omitempty"`
	Service  string         `json:"service"` // empty means that of the Publisher
}

// Security is the body of a TypeSecurity event, such as a refused access.
type Security struct {
	EventType string         `json:"eventType"`
	UserID    string         `json:"userId,omitempty"`
	ActorID   string         `json:"actorId,omitempty"`
	Details   map[string]any `json:"details,omitempty"`
	Severity  Severity       `json:"severity,omitempty" schema:"enum=low|medium|high|critical"`
	Service   string         `json:"service"` // empty means that of the Publisher
}

// Publisher publishes them. Errors are those of [events.Publisher.Publish]. It is
// safe for concurrent use.
type Publisher struct {
	next    *events.Publisher
	service string
}

// NewPublisher returns a Publisher over next, or a *events.ConfigError. service is
// the name that bodies without one get; required.
func NewPublisher(next *events.Publisher, service string) (*Publisher, error) {
	const name = "observability.NewPublisher "
	switch {
	case next == nil:
		return nil, &events.ConfigError{Field: name + "next", Value: next, Problem: "is nil", Remedy: "pass the publisher of events.NewPublisher"}
	case service == "":
		return nil, &events.ConfigError{Field: name + "service", Value: service, Problem: "is empty", Remedy: "name the service, as in events.PublisherConfig.Origin"}
	}
	return &Publisher{next: next, service: service}, nil
}

// Log publishes a log line. A level that does not exist is events.Permanent.
func (p *Publisher) Log(ctx context.Context, body Log) error {
	switch body.Level {
	case Debug, Info, Warn, Error:
	default:
		return events.Permanent(fmt.Errorf("observability: a log of level %q: use debug, info, warn or error", body.Level))
	}
	body.Service = cmp.Or(body.Service, p.service)
	return p.next.Publish(ctx, TypeLog, body)
}

// Metric publishes a value of a metric.
func (p *Publisher) Metric(ctx context.Context, body Metric) error {
	body.Service = cmp.Or(body.Service, p.service)
	return p.next.Publish(ctx, TypeMetric, body)
}

// Audit publishes what somebody has done.
func (p *Publisher) Audit(ctx context.Context, body Audit) error {
	body.Service = cmp.Or(body.Service, p.service)
	return p.next.Publish(ctx, TypeAudit, body)
}

// Security publishes a security event. A severity that does not exist is
// events.Permanent; none is allowed.
func (p *Publisher) Security(ctx context.Context, body Security) error {
	switch body.Severity {
	case "", Low, Medium, High, Critical:
	default:
		return events.Permanent(fmt.Errorf("observability: a security event of severity %q: use low, medium, high or critical", body.Severity))
	}
	body.Service = cmp.Or(body.Service, p.service)
	return p.next.Publish(ctx, TypeSecurity, body)
}
