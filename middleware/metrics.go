package middleware

import (
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// MetricsConfig configures [Metrics] and [MeasurePublisher].
type MetricsConfig struct {
	// MeterProvider makes the instruments. Nil means otel.GetMeterProvider(), at the
	// time of construction; what is set there later still counts.
	MeterProvider metric.MeterProvider
	// System is the attribute messaging.system. Empty means DefaultSystem, "watermill".
	System string
	// Group is the attribute messaging.consumer.group.name of [Metrics]. Empty means that
	// it is left out.
	Group string
}

func (c *MetricsConfig) meter() metric.Meter {
	if c.MeterProvider == nil {
		c.MeterProvider = otel.GetMeterProvider()
	}
	if c.System == "" {
		c.System = DefaultSystem
	}
	return c.MeterProvider.Meter(instrumentation)
}

// Metrics measures the handling of messages, by OpenTelemetry's messaging conventions
// and, where these have nothing, under names of ours:
//
//	messaging.process.duration          histogram, s   what is inside took
//	messaging.client.consumed.messages  counter        messages, by outcome
//	events.queue.duration               histogram, s   from being stored to here
//	events.process.in_flight            up-down        messages that are being handled
//
// Attributes are messaging.system, messaging.operation.name, messaging.destination.name
// (the topic), messaging.consumer.group.name, and of the first two error.type, and
// events.outcome: ack, discard, retry, snooze, dead-letter, release, lease-lost or
// panic. None of them comes from an id, a key or a body. The time in the queue is that
// of first deliveries, and known where the transport says when it stored the message
// (Delivery.Stored); that is the server's clock against this one.
//
// Put it outside PoisonQueue and Retry: one measurement a delivery. It changes nothing about
// the message, and errors and panics pass through. A meter that refuses an instrument
// is a *events.ConfigError.
//
//go:noinline
func Metrics(cfg MetricsConfig) (message.HandlerMiddleware, error) {
	m, err := newMetrics(cfg)
	if err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return m.handle(msg, next) }
	}, nil
}

type metrics struct {
	MetricsConfig
	process  metric.Float64Histogram
	queue    metric.Float64Histogram
	consumed metric.Int64Counter
	inFlight metric.Int64UpDownCounter
	options  options
}

func newMetrics(cfg MetricsConfig) (*metrics, error) {
	meter := cfg.meter()
	m := &metrics{MetricsConfig: cfg}
	var errs [4]error
	m.process, errs[0] = meter.Float64Histogram(metricProcessDuration, metric.WithUnit("s"),
		metric.WithDescription("Duration of processing a message."), metric.WithExplicitBucketBoundaries(durationBounds...))
	m.queue, errs[1] = meter.Float64Histogram(metricQueueDuration, metric.WithUnit("s"),
		metric.WithDescription("Time from a message's being stored to its first handling."), metric.WithExplicitBucketBoundaries(queueBounds...))
	m.consumed, errs[2] = meter.Int64Counter(metricConsumed, metric.WithUnit("{message}"),
		metric.WithDescription("Messages that were handled, by outcome."))
	m.inFlight, errs[3] = meter.Int64UpDownCounter(metricInFlight, metric.WithUnit("{message}"),
		metric.WithDescription("Messages that are being handled."))
	return m, meterError(errs[:]...)
}

func meterError(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return configError("MetricsConfig.MeterProvider", err, "refuses an instrument", "look at the views and instruments of the provider")
	}
	return nil
}

func (m *metrics) handle(msg *message.Message, next message.HandlerFunc) (produced []*message.Message, err error) {
	ctx, begun := msg.Context(), time.Now()
	d, _ := transport.DeliveryFromContext(ctx)
	topic := ""
	if d != nil {
		topic = d.Topic
	} else {
		topic = message.SubscribeTopicFromCtx(ctx)
	}
	plain := m.of(topic, "", "")
	if d != nil && d.Attempt <= 1 && !d.Stored.IsZero() && m.queue.Enabled(ctx) {
		m.queue.Record(ctx, max(begun.Sub(d.Stored), 0).Seconds(), plain.record...)
	}
	m.inFlight.Add(ctx, 1, plain.add...)
	returned := false
	defer func() {
		result, kind := outcomePanic, string(outcomePanic)
		if returned {
			result, kind = outcomeOf(ctx, err), ""
			if err != nil && result != outcomeDiscard {
				kind = errorType(err)
			}
		}
		m.inFlight.Add(ctx, -1, plain.add...)
		o := m.of(topic, result, kind)
		m.process.Record(ctx, time.Since(begun).Seconds(), o.record...)
		m.consumed.Add(ctx, 1, o.add...)
	}()
	produced, err = next(msg)
	returned = true
	return produced, err
}

func (m *metrics) of(topic string, result outcome, errorType string) *option {
	return m.options.of(optionKey{topic, result, errorType}, func() []attribute.KeyValue {
		attrs := []attribute.KeyValue{attrSystem.String(m.System), attrOperationName.String("process")}
		if m.Group != "" {
			attrs = append(attrs, attrGroup.String(m.Group))
		}
		return attrs
	})
}

// options keeps the attributes of measurements: there are few of them, and making them
// costs more than measuring.
type options struct {
	known sync.Map // of optionKey to *option
}

type optionKey struct {
	topic     string
	outcome   outcome
	errorType string
}

type option struct {
	record []metric.RecordOption
	add    []metric.AddOption
}

func (o *options) of(key optionKey, base func() []attribute.KeyValue) *option {
	if known, ok := o.known.Load(key); ok {
		return known.(*option)
	}
	attrs := base()
	if key.topic != "" {
		attrs = append(attrs, attrDestination.String(key.topic))
	}
	if key.outcome != "" {
		attrs = append(attrs, attrOutcome.String(string(key.outcome)))
	}
	if key.errorType != "" {
		attrs = append(attrs, attrErrorType.String(key.errorType))
	}
	set := metric.WithAttributeSet(attribute.NewSet(attrs...))
	made := &option{record: []metric.RecordOption{set}, add: []metric.AddOption{set}}
	known, _ := o.known.LoadOrStore(key, made)
	return known.(*option)
}
