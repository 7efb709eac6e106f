package middleware

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// instrumentation names this library in what it records.
const instrumentation = "github.com/logistically/events/middleware"

// DefaultSystem is the default of [TracingConfig.System].
const DefaultSystem = "watermill"

// TracingConfig configures [Tracing] and [TracePublisher].
type TracingConfig struct {
	// TracerProvider makes the spans. Nil means otel.GetTracerProvider(), at
	// the time of construction; what is set there later still counts.
	TracerProvider trace.TracerProvider
	// Propagator reads and writes the trace context in message metadata. Nil
	// means propagation.TraceContext, W3C's traceparent and tracestate.
	Propagator propagation.TextMapPropagator
	// System is the attribute messaging.system. Empty means DefaultSystem, "watermill".
	System string
	// Group is the attribute messaging.consumer.group.name of [Tracing]. Empty
	// means that it is left out.
	Group string
}

func (c *TracingConfig) tracer() trace.Tracer {
	if c.TracerProvider == nil {
		c.TracerProvider = otel.GetTracerProvider()
	}
	if c.Propagator == nil {
		c.Propagator = propagation.TraceContext{}
	}
	if c.System == "" {
		c.System = DefaultSystem
	}
	return c.TracerProvider.Tracer(instrumentation)
}

// Tracing records a span of kind consumer, "process <topic>", around what is
// inside it, with the attributes of OpenTelemetry's messaging conventions. Put
// it outermost: one span a delivery, whatever is retried inside.
//
// Its parent is the trace context in the message's metadata, which is where
// the event was published. A span that is already in the message's context is
// linked then, and the parent otherwise. An error or a panic is the span's
// status; events.Discard is no error.
//
// Inside, the message's context carries the span, and so does
// events.HeaderFromContext: what the handler publishes with that context belongs
// to this span, by events.Publisher alone or with [TracePublisher]. In Watermill's
// router, where the context has no header, it gets the message's. Messages that
// the handler returns without a context or a trace of their own get both.
// Afterwards the message has its former context again.
//
// Nothing fails here: without a TracerProvider that records, spans cost little
// and the trace context is passed on.
func Tracing(cfg TracingConfig) message.HandlerMiddleware {
	t := &tracing{tracer: cfg.tracer()}
	t.TracingConfig = cfg
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return t.handle(msg, next) }
	}
}

type tracing struct {
	TracingConfig
	tracer trace.Tracer
}

func (t *tracing) handle(msg *message.Message, next message.HandlerFunc) (produced []*message.Message, err error) {
	outer := msg.Context()
	ctx, span := t.start(outer, msg)
	msg.SetContext(t.withHeader(ctx, msg))
	returned := false
	defer func() {
		msg.SetContext(outer)
		if !returned { // The panic goes on: whoever recovers it wants the stack.
			span.SetAttributes(attrErrorType.String("panic"))
			span.SetStatus(codes.Error, "the handler panicked")
		}
		span.End()
	}()
	produced, err = next(msg)
	returned = true
	if err != nil && !events.IsDiscard(err) {
		fail(span, err)
	}
	for _, p := range produced {
		t.adopt(ctx, msg, p)
	}
	return produced, err
}

func (t *tracing) start(outer context.Context, msg *message.Message) (context.Context, trace.Span) {
	d, can := transport.DeliveryFromContext(outer)
	topic := message.SubscribeTopicFromCtx(outer)
	if d != nil {
		topic = d.Topic
	}
	attrs := append(messageAttributes(msg),
		attrSystem.String(t.System), attrOperationType.String("process"), attrOperationName.String("process"))
	if topic != "" {
		attrs = append(attrs, attrDestination.String(topic))
	}
	if t.Group != "" {
		attrs = append(attrs, attrGroup.String(t.Group))
	}
	if d != nil && can.Attempts {
		attrs = append(attrs, attrAttempt.Int(d.Attempt))
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...)}
	parent := t.Propagator.Extract(outer, metadataCarrier{msg})
	ambient := trace.SpanContextFromContext(outer)
	if ambient.IsValid() && !ambient.Equal(trace.SpanContextFromContext(parent)) {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: ambient}))
	}
	return t.tracer.Start(parent, spanName("process", topic), options...)
}

// withHeader makes the span the trace of the header in ctx. Headers speak W3C,
// whatever the propagator does.
func (t *tracing) withHeader(ctx context.Context, msg *message.Message) context.Context {
	h, ok := events.HeaderFromContext(ctx)
	if !ok {
		h = events.HeaderOf(msg)
	}
	if trace.SpanContextFromContext(ctx).IsValid() {
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier)
		h.TraceParent, h.TraceState = carrier[events.MetadataTraceParent], carrier[events.MetadataTraceState]
	}
	return events.ContextWithHeader(ctx, h)
}

// adopt gives the trace to a message that the handler returns, unless it is
// the handled one passed on, which may still be retried.
func (t *tracing) adopt(ctx context.Context, msg, produced *message.Message) {
	if produced == nil || produced == msg {
		return
	}
	if produced.Context() == context.Background() {
		produced.SetContext(ctx)
	}
	carrier := metadataCarrier{produced}
	if !trace.SpanContextFromContext(t.Propagator.Extract(context.Background(), carrier)).IsValid() {
		t.Propagator.Inject(ctx, carrier)
	}
}

func fail(span trace.Span, err error) {
	span.RecordError(err)
	span.SetAttributes(attrErrorType.String(errorType(err)))
	span.SetStatus(codes.Error, err.Error())
}
