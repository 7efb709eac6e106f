package middleware

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// TracingConfig configures [Tracing] and [TracePublisher].
type TracingConfig struct {
	// TracerProvider makes the spans. Nil means the global one at the time
	// of construction.
	TracerProvider trace.TracerProvider
	// Propagator writes and reads the trace context in metadata. Nil means W3C
	// Trace Context.
	Propagator propagation.TextMapPropagator
}

const scope = "github.com/logistically/events/middleware"

func (cfg *TracingConfig) complete() trace.Tracer {
	if cfg.TracerProvider == nil {
		cfg.TracerProvider = otel.GetTracerProvider()
	}
	if cfg.Propagator == nil {
		cfg.Propagator = propagation.TraceContext{}
	}
	return cfg.TracerProvider.Tracer(scope)
}

// Tracing makes a consumer span for each delivery, "process <topic>", a child of
// the span that published the message. Events that the handler publishes with
// its context belong to that span. An error sets the span's status. Place it
// outermost. The error is always nil: it is there for what may come.
func Tracing(cfg TracingConfig) (message.HandlerMiddleware, error) {
	tracer := cfg.complete()
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) (_ []*message.Message, err error) {
			outer := msg.Context()
			topic, attempt := message.SubscribeTopicFromCtx(outer), 1
			if d, _ := transport.DeliveryFromContext(outer); d != nil {
				topic, attempt = d.Topic, d.Attempt
			}
			ctx := cfg.Propagator.Extract(outer, propagation.MapCarrier(msg.Metadata))
			ctx, span := tracer.Start(ctx, "process "+topic,
				trace.WithSpanKind(trace.SpanKindConsumer),
				trace.WithAttributes(append(attributes("process", "process", topic, msg), attrAttempt.Int(attempt))...))
			defer func() {
				fail(span, err)
				span.End()
				msg.SetContext(outer)
			}()
			msg.SetContext(cfg.withHeader(ctx, msg))
			return next(msg)
		}
	}, nil
}

// withHeader puts the span into the header of the event being handled, so that
// what is published without TracePublisher belongs to it as well.
func (cfg *TracingConfig) withHeader(ctx context.Context, msg *message.Message) context.Context {
	h, ok := events.HeaderFromContext(ctx)
	if !ok {
		h = events.HeaderOf(msg)
	}
	carrier := propagation.MapCarrier{}
	cfg.Propagator.Inject(ctx, carrier)
	if parent := carrier[events.MetadataTraceParent]; parent != "" {
		h.TraceParent, h.TraceState = parent, carrier[events.MetadataTraceState]
	}
	return events.ContextWithHeader(ctx, h)
}

// TracePublisher makes a producer span for each Publish call, "publish
// <topic>", and writes its context into the messages. The span of one message is
// a child of the span in that message's context. The span of a batch is a span of
// its own, with a link to the context of each of its messages, and each message
// keeps its own.
func TracePublisher(next message.Publisher, cfg TracingConfig) (message.Publisher, error) {
	if next == nil {
		return nil, &events.ConfigError{Field: "middleware.TracePublisher next", Value: nil, Problem: "is nil", Remedy: "pass the publisher to be traced"}
	}
	return &tracePublisher{next, cfg.complete(), cfg.Propagator}, nil
}

type tracePublisher struct {
	next       message.Publisher
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
}

// Publish implements message.Publisher.
func (p *tracePublisher) Publish(topic string, msgs ...*message.Message) (err error) {
	if len(msgs) != 1 || msgs[0] == nil {
		return p.publishBatch(topic, msgs)
	}
	msg := msgs[0]
	ctx, span := p.tracer.Start(p.origin(msg), "publish "+topic,
		trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(attributes("publish", "send", topic, msg)...))
	defer func() { fail(span, err); span.End() }()
	p.inject(ctx, msg)
	return p.next.Publish(topic, msg)
}

func (p *tracePublisher) publishBatch(topic string, msgs []*message.Message) (err error) {
	var links []trace.Link
	for _, msg := range msgs {
		if msg == nil {
			continue // The publisher beneath says what is wrong with it.
		}
		ctx := p.origin(msg)
		p.inject(ctx, msg)
		if sc := trace.SpanContextFromContext(ctx); sc.IsValid() {
			links = append(links, trace.Link{SpanContext: sc, Attributes: []attribute.KeyValue{attrMessageID.String(msg.UUID)}})
		}
	}
	_, span := p.tracer.Start(context.Background(), "publish "+topic,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithLinks(links...),
		trace.WithAttributes(attrSystem.String(systemName), attrOperationName.String("publish"), attrOperationType.String("send"),
			attrDestination.String(topic), attrBatchCount.Int(len(msgs))))
	defer func() { fail(span, err); span.End() }()
	return p.next.Publish(topic, msgs...)
}

// origin returns a context with the span that a message comes from: the one in
// its context or, behind a batching publisher or where nothing is traced, the one
// that its metadata names.
func (p *tracePublisher) origin(msg *message.Message) context.Context {
	ctx := msg.Context()
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return p.propagator.Extract(ctx, propagation.MapCarrier(msg.Metadata))
}

func (p *tracePublisher) inject(ctx context.Context, msg *message.Message) {
	if msg.Metadata == nil {
		msg.Metadata = message.Metadata{}
	}
	p.propagator.Inject(ctx, propagation.MapCarrier(msg.Metadata))
}

// Close closes the publisher beneath.
func (p *tracePublisher) Close() error { return p.next.Close() }

func attributes(name, kind, topic string, msg *message.Message) []attribute.KeyValue {
	return []attribute.KeyValue{
		attrSystem.String(systemName), attrOperationName.String(name), attrOperationType.String(kind),
		attrDestination.String(topic), attrMessageID.String(msg.UUID), attrBodySize.Int(len(msg.Payload)),
		attrEventType.String(msg.Metadata[events.MetadataType]),
	}
}

func fail(span trace.Span, err error) {
	if err == nil {
		return
	}
	span.SetStatus(codes.Error, err.Error())
	span.SetAttributes(attrErrorType.String(fmt.Sprintf("%T", err)))
}
