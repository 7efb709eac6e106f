package middleware

import (
	"context"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// TracePublisher decorates a publisher: each Publish call is a span, "publish
// <topic>", and each message carries its trace context in its metadata, where
// [Tracing] finds it. It is safe for concurrent use if next is.
//
// A single message: the span is of kind producer, its parent is the span in the
// message's context or else the trace that its metadata holds already, and the
// message carries the span.
//
// Several messages: each keeps the trace that it was created in, by its context
// or metadata, and the span is linked to all of them. Messages without one carry
// the span. It is of kind producer if there are any, of kind client otherwise. If
// all were created in one span, that is its parent, too.
//
// Metadata is written in place, as Watermill allows a publisher to do: do not
// publish one message from two goroutines, and to pass on a message that is
// being handled publish a Copy of it. The error of next is the span's status
// and returned as it is. Close closes next. A nil next is a *events.ConfigError.
func TracePublisher(next message.Publisher, cfg TracingConfig) (message.Publisher, error) {
	if nilcheck.IsNil(next) {
		return nil, configError("TracePublisher next", next, "is nil", "pass a message.Publisher, such as redis.NewPublisher's")
	}
	p := &tracePublisher{next: next, tracer: cfg.tracer()}
	p.TracingConfig = cfg
	return p, nil
}

type tracePublisher struct {
	TracingConfig
	next   message.Publisher
	tracer trace.Tracer
}

func (p *tracePublisher) Close() error { return p.next.Close() }

func (p *tracePublisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 || slices.Contains(messages, nil) {
		return p.next.Publish(topic, messages...) // which says what is wrong with it
	}
	var span trace.Span
	if len(messages) == 1 {
		span = p.single(topic, messages[0])
	} else {
		span = p.batch(topic, messages)
	}
	defer span.End()
	err := p.next.Publish(topic, messages...)
	if err != nil {
		fail(span, err)
	}
	return err
}

func (p *tracePublisher) single(topic string, msg *message.Message) trace.Span {
	ctx, span := p.tracer.Start(p.creation(msg), spanName("publish", topic),
		trace.WithSpanKind(trace.SpanKindProducer),
		trace.WithAttributes(append(messageAttributes(msg), p.attributes(topic)...)...))
	p.inject(ctx, msg)
	return span
}

func (p *tracePublisher) batch(topic string, messages []*message.Message) trace.Span {
	created := make([]context.Context, len(messages))
	links := make([]trace.Link, 0, len(messages))
	shared, kind := true, trace.SpanKindClient
	first := p.creation(messages[0])
	for i, msg := range messages {
		created[i] = p.creation(msg)
		sc := trace.SpanContextFromContext(created[i])
		shared = shared && sc.Equal(trace.SpanContextFromContext(first))
		if !sc.IsValid() {
			kind = trace.SpanKindProducer
			continue
		}
		links = append(links, trace.Link{SpanContext: sc, Attributes: []attribute.KeyValue{attrMessageID.String(msg.UUID)}})
	}
	parent := messages[0].Context()
	if shared {
		parent = first
	} else {
		parent = trace.ContextWithSpanContext(parent, trace.SpanContext{}) // a trace of its own
	}
	ctx, span := p.tracer.Start(parent, spanName("publish", topic),
		trace.WithSpanKind(kind), trace.WithLinks(links...),
		trace.WithAttributes(append(p.attributes(topic), attrBatchCount.Int(len(messages)))...))
	for i, msg := range messages {
		carry := created[i]
		if !trace.SpanContextFromContext(carry).IsValid() {
			carry = ctx
		}
		p.inject(carry, msg)
	}
	return span
}

// creation returns a context with the trace in which a message was created.
func (p *tracePublisher) creation(msg *message.Message) context.Context {
	ctx := msg.Context()
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return p.Propagator.Extract(ctx, metadataCarrier{msg})
}

// inject writes the trace of ctx. A propagator writes no empty tracestate, so
// one of another trace must go first.
func (p *tracePublisher) inject(ctx context.Context, msg *message.Message) {
	if trace.SpanContextFromContext(ctx).IsValid() {
		delete(msg.Metadata, events.MetadataTraceState)
	}
	p.Propagator.Inject(ctx, metadataCarrier{msg})
}

func (p *tracePublisher) attributes(topic string) []attribute.KeyValue {
	return []attribute.KeyValue{
		attrSystem.String(p.System), attrOperationType.String("send"), attrOperationName.String("publish"),
		attrDestination.String(topic),
	}
}
