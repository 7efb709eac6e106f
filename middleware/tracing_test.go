package middleware_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

type spans struct {
	exporter *tracetest.InMemoryExporter
	provider *sdktrace.TracerProvider
	cfg      middleware.TracingConfig
}

func newSpans(t *testing.T) spans {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return spans{exporter, provider, middleware.TracingConfig{TracerProvider: provider, Group: "billing"}}
}

func (s spans) publisher(t *testing.T, next message.Publisher) message.Publisher {
	t.Helper()
	p, err := middleware.TracePublisher(next, s.cfg)
	must(t, err)
	return p
}

// named returns the one span of that name.
func (s spans) named(t *testing.T, name string) tracetest.SpanStub {
	t.Helper()
	var found []tracetest.SpanStub
	for _, sp := range s.exporter.GetSpans() {
		if sp.Name == name {
			found = append(found, sp)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans %q in %d", len(found), name, len(s.exporter.GetSpans()))
	}
	return found[0]
}

func attr(sp tracetest.SpanStub, key string) string {
	for _, a := range sp.Attributes {
		if a.Key == attribute.Key(key) {
			return a.Value.String()
		}
	}
	return ""
}

func wantParent(t *testing.T, child, parent tracetest.SpanStub) {
	t.Helper()
	if child.Parent.SpanID() != parent.SpanContext.SpanID() || child.SpanContext.TraceID() != parent.SpanContext.TraceID() {
		t.Errorf("%q is not a child of %q", child.Name, parent.Name)
	}
}

func TestTraceGoesThroughPublishHandleAndPublish(t *testing.T) {
	s := newSpans(t)
	broker := &recorder{}
	pub, err := events.NewPublisher(s.publisher(t, broker), events.PublisherConfig{Origin: "test"})
	must(t, err)
	must(t, pub.Publish(t.Context(), "user.created", map[string]int{"n": 1}))

	msg := deliver(broker.messages[0], 2, full)
	outer := events.ContextWithHeader(msg.Context(), events.HeaderOf(msg))
	msg.SetContext(outer)
	_, err = middleware.Tracing(s.cfg)(func(msg *message.Message) ([]*message.Message, error) {
		return nil, pub.Publish(msg.Context(), "mail.sent", nil)
	})(msg)
	must(t, err)

	first, process, second := s.named(t, "publish user-events"), s.named(t, "process user-events"), s.named(t, "publish mail-events")
	wantParent(t, process, first)
	wantParent(t, second, process)
	if first.Parent.IsValid() || !process.Parent.IsRemote() || first.SpanKind != trace.SpanKindProducer || process.SpanKind != trace.SpanKindConsumer || len(process.Links) != 0 {
		t.Errorf("first %v, process %v", first, process)
	}
	if msg.Context() != outer {
		t.Error("the message keeps the context of the span")
	}
	for key, want := range map[string]string{
		"messaging.system": "watermill", "messaging.operation.type": "process", "messaging.operation.name": "process",
		"messaging.destination.name": "user-events", "messaging.message.id": msg.UUID, "messaging.message.body.size": "7",
		"messaging.consumer.group.name": "billing", "events.type": "user.created", "events.delivery.attempt": "2",
	} {
		if got := attr(process, key); got != want {
			t.Errorf("process: %s = %q, want %q", key, got, want)
		}
	}
	if attr(first, "messaging.operation.type") != "send" || attr(first, "messaging.operation.name") != "publish" {
		t.Errorf("publish: %v", first.Attributes)
	}
}

// events.Publisher alone names the consumer span, without a decorated publisher.
func TestTraceReachesTheHeaderOfWhatAHandlerPublishes(t *testing.T) {
	s := newSpans(t)
	broker := &recorder{}
	pub, err := events.NewPublisher(broker, events.PublisherConfig{Origin: "test"})
	must(t, err)
	handle := middleware.Tracing(s.cfg)(func(msg *message.Message) ([]*message.Message, error) {
		plain, own := newMessage("plain"), newMessage("own")
		own.Metadata[events.MetadataTraceParent] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		return []*message.Message{msg, plain, own}, pub.Publish(msg.Context(), "mail.sent", nil)
	})
	msg := newMessage("1")
	msg.Metadata[events.MetadataTraceParent] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	msg.Metadata[events.MetadataTraceState] = "vendor=1"
	produced, err := handle(msg)
	must(t, err)
	process := s.named(t, "process")
	traceparent := "00-4bf92f3577b34da6a3ce929d0e0e4736-" + process.SpanContext.SpanID().String() + "-01"
	h := events.HeaderOf(broker.messages[0])
	if h.TraceParent != traceparent || h.TraceState != "vendor=1" || h.CausationID != "1" {
		t.Errorf("header %+v, want %s", h, traceparent)
	}
	if got := produced[0].Metadata[events.MetadataTraceParent]; got == traceparent {
		t.Error("the message that is handled was changed")
	}
	if got := produced[1].Metadata[events.MetadataTraceParent]; got != traceparent || !trace.SpanContextFromContext(produced[1].Context()).IsValid() {
		t.Errorf("returned message: %s", got)
	}
	if got := produced[2].Metadata[events.MetadataTraceParent]; got == traceparent {
		t.Error("a trace of its own was overwritten")
	}
}

func TestTracingLinksTheSpanAround(t *testing.T) {
	s := newSpans(t)
	ctx, around := s.provider.Tracer("test").Start(context.Background(), "around")
	msg := newMessage("1")
	msg.SetContext(ctx)
	h := middleware.Tracing(s.cfg)((&handler{}).handle)
	_, err := h(msg)
	must(t, err)
	if p := s.named(t, "process"); p.Parent.SpanID() != around.SpanContext().SpanID() || len(p.Links) != 0 {
		t.Errorf("without a trace of the message: %v", p)
	}
	s.exporter.Reset()
	msg.Metadata[events.MetadataTraceParent] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	_, err = h(msg)
	must(t, err)
	if p := s.named(t, "process"); p.Parent.SpanID().String() != "00f067aa0ba902b7" || len(p.Links) != 1 || !p.Links[0].SpanContext.Equal(around.SpanContext()) {
		t.Errorf("with a trace of the message: %v", p)
	}
	around.End()
}

func TestTracePublisherLinksABatch(t *testing.T) {
	s := newSpans(t)
	tracer := s.provider.Tracer("test")
	start := func(name string) (context.Context, trace.SpanContext) {
		ctx, span := tracer.Start(context.Background(), name)
		span.End()
		return ctx, span.SpanContext()
	}
	ctxA, a := start("a")
	ctxB, b := start("b")
	in := func(ctxs ...context.Context) (out []*message.Message) {
		for _, ctx := range ctxs {
			msg := newMessage("m")
			msg.SetContext(ctx)
			out = append(out, msg)
		}
		return out
	}
	for name, c := range map[string]struct {
		messages []*message.Message
		links    []trace.SpanContext
		parent   trace.SpanID
		kind     trace.SpanKind
		carried  []trace.SpanID // zero: that of the batch
	}{
		"all of one":      {in(ctxA, ctxA), []trace.SpanContext{a, a}, a.SpanID(), trace.SpanKindClient, []trace.SpanID{a.SpanID(), a.SpanID()}},
		"of two":          {in(ctxA, ctxB), []trace.SpanContext{a, b}, trace.SpanID{}, trace.SpanKindClient, []trace.SpanID{a.SpanID(), b.SpanID()}},
		"one without":     {in(ctxA, context.Background()), []trace.SpanContext{a}, trace.SpanID{}, trace.SpanKindProducer, []trace.SpanID{a.SpanID(), {}}},
		"all without any": {in(context.Background(), context.Background()), nil, trace.SpanID{}, trace.SpanKindProducer, []trace.SpanID{{}, {}}},
	} {
		t.Run(name, func(t *testing.T) {
			s.exporter.Reset()
			must(t, s.publisher(t, &recorder{}).Publish("topic", c.messages...))
			batch := s.named(t, "publish topic")
			if batch.Parent.SpanID() != c.parent || batch.SpanKind != c.kind || len(batch.Links) != len(c.links) || attr(batch, "messaging.batch.message_count") != "2" {
				t.Fatalf("parent %v, kind %v, links %v", batch.Parent, batch.SpanKind, batch.Links)
			}
			for i, l := range batch.Links {
				if !l.SpanContext.Equal(c.links[i]) {
					t.Errorf("link %d: %v", i, l)
				}
			}
			for i, msg := range c.messages {
				want := c.carried[i]
				if !want.IsValid() {
					want = batch.SpanContext.SpanID()
				}
				if got := events.HeaderOf(msg).TraceParent; got[36:52] != want.String() {
					t.Errorf("message %d carries %s, want span %s", i, got, want)
				}
			}
		})
	}
}

func TestTracePublisherReplacesAnotherTrace(t *testing.T) {
	s := newSpans(t)
	ctx, around := s.provider.Tracer("test").Start(context.Background(), "around")
	defer around.End()
	msg := newMessage("1")
	msg.SetContext(ctx)
	msg.Metadata[events.MetadataTraceParent] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	msg.Metadata[events.MetadataTraceState] = "vendor=1"
	must(t, s.publisher(t, &recorder{}).Publish("topic", msg))
	if h := events.HeaderOf(msg); h.TraceState != "" || h.TraceParent[3:35] != around.SpanContext().TraceID().String() {
		t.Errorf("carries %q, %q", h.TraceParent, h.TraceState)
	}
}

func TestTracingRecordsFailures(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		status codes.Code
		typ    string
	}{
		"plain":   {errBoom, codes.Error, "_OTHER"},
		"typed":   {events.Permanent(&events.ConfigError{}), codes.Error, "*events.ConfigError"},
		"invalid": {events.Permanent(&events.ValidationError{}), codes.Error, "*events.ValidationError"},
		"panic":   {&events.PanicError{Value: errBoom}, codes.Error, "panic"},
		"timeout": {context.DeadlineExceeded, codes.Error, "timeout"},
		"joined":  {errors.Join(errBoom, errBoom), codes.Error, "_OTHER"},
		"discard": {events.Discard(errBoom), codes.Unset, ""},
		"success": {nil, codes.Unset, ""},
	} {
		s := newSpans(t)
		if _, err := middleware.Tracing(s.cfg)((&handler{errs: []error{c.err}}).handle)(deliver(newMessage("1"), 1, full)); err != c.err {
			t.Errorf("%s: returns %v", name, err)
		}
		if p := s.named(t, "process user-events"); p.Status.Code != c.status || attr(p, "error.type") != c.typ {
			t.Errorf("%s: %v, error.type %q", name, p.Status, attr(p, "error.type"))
		}
	}
	s := newSpans(t)
	if err := s.publisher(t, &recorder{err: errBoom}).Publish("topic", newMessage("1")); err != errBoom {
		t.Errorf("publish returns %v", err)
	}
	if p := s.named(t, "publish topic"); p.Status.Code != codes.Error {
		t.Errorf("publish: %v", p.Status)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = middleware.Tracing(s.cfg)(func(*message.Message) ([]*message.Message, error) { panic("ouch") })(newMessage("1"))
	}()
	if p := s.named(t, "process"); p.Status.Code != codes.Error || attr(p, "error.type") != "panic" {
		t.Errorf("panic: %v", p)
	}
}

func TestTracingWithoutAProviderPassesTheTraceOn(t *testing.T) {
	broker := &recorder{}
	pub, err := middleware.TracePublisher(broker, middleware.TracingConfig{})
	must(t, err)
	const given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	msg := deliver(newMessage("1"), 1, transport.Capabilities{})
	msg.Metadata[events.MetadataTraceParent] = given
	_, err = middleware.Tracing(middleware.TracingConfig{})(func(msg *message.Message) ([]*message.Message, error) {
		out := &message.Message{UUID: "out"} // without a metadata map
		out.SetContext(msg.Context())
		return nil, pub.Publish("topic", out)
	})(msg)
	must(t, err)
	if got := broker.messages[0].Metadata[events.MetadataTraceParent]; got != given {
		t.Errorf("passed on %q", got)
	}
	must(t, pub.Publish("topic"))
	must(t, pub.Close())
	_, err = middleware.TracePublisher(nil, middleware.TracingConfig{})
	wantConfigError(t, "no publisher", err)
}

func TestTracingInWatermillsRouter(t *testing.T) {
	s := newSpans(t)
	ps := newPubSub(false)
	out, err := ps.Subscribe(t.Context(), "out")
	must(t, err)
	in := newMessage("1")
	must(t, s.publisher(t, &recorder{}).Publish("in", in))
	h := func(*message.Message) ([]*message.Message, error) { return message.Messages{newMessage("2")}, nil }
	var sent *message.Message
	watermillRun(t, ps, h, []message.HandlerMiddleware{middleware.Tracing(s.cfg)}, func() { sent = receive(t, out) }, in)
	process := s.named(t, "process in")
	wantParent(t, process, s.named(t, "publish in"))
	if got := events.HeaderOf(sent).TraceParent; got[36:52] != process.SpanContext.SpanID().String() {
		t.Errorf("carries %s", got)
	}
}
