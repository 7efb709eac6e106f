package middleware

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// MeasurePublisher decorates a publisher: each Publish call is measured, as
// OpenTelemetry's messaging conventions say:
//
//	messaging.client.operation.duration  histogram, s  the call took
//	messaging.client.sent.messages       counter       messages; those that failed with error.type
//
// Attributes are messaging.system, messaging.operation.name, messaging.destination.name
// and error.type. Which messages failed is what a *events.PublishError says, or else all.
//
// It is safe for concurrent use if next is. The error of next is returned as it is. Close
// closes next. A nil next, or a meter that refuses an instrument, is a *events.ConfigError.
func MeasurePublisher(next message.Publisher, cfg MetricsConfig) (message.Publisher, error) {
	if nilcheck.IsNil(next) {
		return nil, configError("MeasurePublisher next", next, "is nil", "pass a message.Publisher, such as redis.NewPublisher's")
	}
	meter := cfg.meter()
	p := &measurePublisher{MetricsConfig: cfg, next: next}
	var errs [2]error
	p.duration, errs[0] = meter.Float64Histogram(metricPublishDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of publishing."), metric.WithExplicitBucketBoundaries(durationBounds...))
	p.sent, errs[1] = meter.Int64Counter(metricSent, metric.WithUnit("{message}"),
		metric.WithDescription("Messages that were to be published."))
	if err := meterError(errs[:]...); err != nil {
		return nil, err
	}
	return p, nil
}

type measurePublisher struct {
	MetricsConfig
	next     message.Publisher
	duration metric.Float64Histogram
	sent     metric.Int64Counter
	options  options
}

func (p *measurePublisher) Close() error { return p.next.Close() }

func (p *measurePublisher) Publish(topic string, messages ...*message.Message) error {
	ctx := context.Background()
	if len(messages) > 0 && messages[0] != nil {
		ctx = messages[0].Context() // for exemplars
	}
	begun := time.Now()
	err := p.next.Publish(topic, messages...)
	took := time.Since(begun).Seconds()
	well, failed := p.of(topic, ""), 0
	if err == nil {
		p.duration.Record(ctx, took, well.record...)
	} else {
		ill := p.of(topic, errorType(err))
		p.duration.Record(ctx, took, ill.record...)
		failed = failures(err, len(messages))
		p.sent.Add(ctx, int64(failed), ill.add...)
	}
	if n := len(messages) - failed; n > 0 {
		p.sent.Add(ctx, int64(n), well.add...)
	}
	return err
}

func (p *measurePublisher) of(topic, errorType string) *option {
	return p.options.of(optionKey{topic: topic, errorType: errorType}, func() []attribute.KeyValue {
		return []attribute.KeyValue{attrSystem.String(p.System), attrOperationName.String("publish"), attrOperationType.String("send")}
	})
}

// failures returns how many messages of a call failed.
func failures(err error, of int) int {
	if e, ok := errors.AsType[*events.PublishError](err); ok && len(e.Failed) > 0 {
		return min(len(e.Failed), of)
	}
	return of
}
