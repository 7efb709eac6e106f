package middleware

import (
	"context"
	"encoding/hex"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/contextkey"
	"github.com/logistically/events/transport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
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
// linked then, and the parent otherwise. Where an earlier attempt failed, the span is
// linked to that one's, after a retry as after a redrive of a dead letter
// (transport.MetadataFailureTrace). An error or a panic is the span's status; events.Discard
// and events.Snooze are no errors.
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
	_, t.w3c = cfg.Propagator.(propagation.TraceContext)
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return t.handle(msg, next) }
	}
}

type tracing struct {
	TracingConfig
	tracer trace.Tracer
	w3c    bool     // the propagator is W3C's
	topics sync.Map // of string to *topicSpan
}

// topicSpan is what all spans of a topic have in common.
type topicSpan struct {
	name    string
	options []trace.SpanStartOption
}

func (t *tracing) of(topic string) *topicSpan {
	if known, ok := t.topics.Load(topic); ok {
		return known.(*topicSpan)
	}
	attrs := []attribute.KeyValue{attrSystem.String(t.System), attrOperationType.String("process"), attrOperationName.String("process")}
	if topic != "" {
		attrs = append(attrs, attrDestination.String(topic))
	}
	if t.Group != "" {
		attrs = append(attrs, attrGroup.String(t.Group))
	}
	known, _ := t.topics.LoadOrStore(topic, &topicSpan{spanName("process", topic), []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...),
	}})
	return known.(*topicSpan)
}

func (t *tracing) handle(msg *message.Message, next message.HandlerFunc) (produced []*message.Message, err error) {
	outer := msg.Context()
	ctx, span := t.start(outer, msg)
	if ctx != outer {
		msg.SetContext(ctx)
	}
	returned := false
	defer func() {
		msg.SetContext(outer)
		switch {
		case !returned: // The panic goes on: whoever recovers it wants the stack.
			span.SetAttributes(attrErrorType.String("panic"))
			span.SetStatus(codes.Error, "the handler panicked")
		case err != nil && !events.IsDiscard(err) && !events.IsSnooze(err):
			fail(span, err)
			t.remember(span, msg)
		}
		span.End()
	}()
	produced, err = next(msg)
	returned = true
	for _, p := range produced {
		t.adopt(ctx, msg, p)
	}
	return produced, err
}

// start begins the span and returns the context for what is inside. Where nothing is
// recorded it makes as little as it can.
func (t *tracing) start(outer context.Context, msg *message.Message) (context.Context, trace.Span) {
	d, can := transport.DeliveryFromContext(outer)
	topic := ""
	if d != nil {
		topic = d.Topic
	} else {
		topic = message.SubscribeTopicFromCtx(outer)
	}
	common := t.of(topic)
	options := common.options
	parent, ambient := outer, trace.SpanContextFromContext(outer)
	if !t.w3c || msg.Metadata[events.MetadataTraceParent] != "" {
		parent = t.Propagator.Extract(outer, metadataCarrier{msg})
	}
	creation := ambient
	if parent != outer {
		creation = trace.SpanContextFromContext(parent)
	}
	if ambient.IsValid() && !ambient.Equal(creation) {
		options = append(options[:len(options):len(options)], trace.WithLinks(trace.Link{SpanContext: ambient}))
	}
	if failed := failedAttempt(msg); failed.IsValid() {
		options = append(options[:len(options):len(options)], trace.WithLinks(trace.Link{
			SpanContext: failed, Attributes: []attribute.KeyValue{attrLink.String("failed attempt")},
		}))
	}
	ctx, span := t.tracer.Start(parent, common.name, options...)
	if span.IsRecording() {
		attrs := messageAttributes(msg)
		if d != nil && can.Attempts {
			attrs = append(attrs, attrAttempt.Int(d.Attempt))
		}
		span.SetAttributes(attrs...)
	} else if span.SpanContext().Equal(creation) {
		ctx = parent // The span is that of the context already.
	}
	return withHeader(ctx, span.SpanContext(), msg), span
}

// remember leaves word of the failed attempt for the next one, or who redrives the message.
func (t *tracing) remember(span trace.Span, msg *message.Message) {
	if !span.SpanContext().IsSampled() || !span.IsRecording() {
		return
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), span), carrier)
	metadataCarrier{msg}.Set(transport.MetadataFailureTrace, carrier[events.MetadataTraceParent])
}

// failedAttempt returns the span of the last attempt that failed, if there is word of one.
func failedAttempt(msg *message.Message) trace.SpanContext {
	text := msg.Metadata[transport.MetadataFailureTrace]
	if text == "" {
		return trace.SpanContext{}
	}
	carrier := propagation.MapCarrier{events.MetadataTraceParent: text}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// withHeader makes the span the trace of the header in ctx. Headers speak W3C,
// whatever the propagator does.
func withHeader(ctx context.Context, sc trace.SpanContext, msg *message.Message) context.Context {
	if !sc.IsValid() && ctx.Value(contextkey.Header{}) != nil {
		return ctx // There is a header, and it need not be read.
	}
	h, ok := events.HeaderFromContext(ctx)
	if !ok {
		h = events.HeaderOf(msg)
	}
	if ok && names(h.TraceParent, sc) {
		return ctx
	}
	if sc.IsValid() {
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier)
		h.TraceParent, h.TraceState = carrier[events.MetadataTraceParent], carrier[events.MetadataTraceState]
	}
	return events.ContextWithHeader(ctx, h)
}

// names reports whether a traceparent (00-<trace>-<span>-<flags>) is that of a span.
func names(traceparent string, sc trace.SpanContext) bool {
	if len(traceparent) < 52 {
		return false
	}
	traceID, spanID := sc.TraceID(), sc.SpanID()
	var text [32]byte
	hex.Encode(text[:], traceID[:])
	if string(text[:]) != traceparent[3:35] {
		return false
	}
	hex.Encode(text[:], spanID[:])
	return string(text[:16]) == traceparent[36:52]
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
