package router

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// capture is a publisher that keeps what it is given.
type capture struct {
	mu    sync.Mutex
	got   []*message.Message
	topic []string
	calls int
	err   func(topic string, messages []*message.Message) error
}

func (c *capture) Publish(topic string, messages ...*message.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	for _, m := range messages {
		c.got = append(c.got, m)
		c.topic = append(c.topic, topic)
	}
	if c.err != nil {
		return c.err(topic, messages)
	}
	return nil
}

func (c *capture) Close() error { return errors.New("closed by somebody else") }

type body struct{ N int }

func TestTypedHandler(t *testing.T) {
	bubble(t, "gets the decoded event, its header and its delivery", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		var got events.Event[body]
		var d *transport.Delivery
		var header events.Header
		must(t, Handle(r, "a.*", func(ctx context.Context, ev events.Event[body]) error {
			got = ev
			d, _ = transport.DeliveryFromContext(ctx)
			header, _ = events.HeaderFromContext(ctx)
			return nil
		}))
		stop := start(t, r)
		f.deliver("a.b")
		synctest.Wait()
		must(t, stop())
		if got.Body.N != 1 || got.ID != "uuid-of-a.b" || d == nil || d.ID != "id-of-a.b" || header != got.Header {
			t.Errorf("event %+v, delivery %+v, header %+v", got, d, header)
		}
	})
	bubble(t, "a body that does not decode is a dead letter", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		must(t, Handle(r, "a", func(context.Context, events.Event[string]) error { return nil }))
		stop := start(t, r)
		f.deliver("a")
		synctest.Wait()
		must(t, stop())
		if o := only(t, f); o.Settlement != transport.DeadLetter || o.Metadata[transport.MetadataFailureHandler] != "a" {
			t.Errorf("settled by %v with %v", o.Settlement, o.Metadata)
		}
	})
	bubble(t, "a message without type is dispatched by its topic", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		handle(t, r, "topic", nothing)
		stop := start(t, r)
		d := delivery("")
		f.in <- d
		synctest.Wait()
		must(t, stop())
		if o := only(t, f); o.Settlement != transport.Ack {
			t.Errorf("settled by %v", o.Settlement)
		}
	})
}

func TestLostLeaseEndsTheHandlersContextAndSettlesNothing(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		handle(t, r, "a", func(msg *message.Message) error {
			<-msg.Context().Done()
			return context.Cause(msg.Context())
		})
		stop := start(t, r)
		d := delivery("a")
		ctx, lose := context.WithCancelCause(t.Context())
		d.Message.SetContext(ctx)
		f.in <- d
		synctest.Wait()
		lose(transport.ErrLeaseLost)
		synctest.Wait()
		must(t, stop())
		if s := r.Stats(); len(f.settled()) != 0 || s.LeaseLost != 1 || s.InFlight != 0 {
			t.Errorf("settled %v, stats %+v", f.settled(), s)
		}
	})
}

func TestPanickingRetryDelayFallsBackToTheDefault(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.RetryDelay = func(int) time.Duration { panic("ouch") } })
		handle(t, r, "a", func(*message.Message) error { return errors.New("boom") })
		stop := start(t, r)
		f.deliver("a")
		synctest.Wait()
		must(t, stop())
		if o := only(t, f); o.Settlement != transport.Retry || o.After != time.Second {
			t.Errorf("settled by %v after %v", o.Settlement, o.After)
		}
	})
}

func traced(eventType string) *transport.Delivery {
	d := delivery(eventType)
	maps.Copy(d.Message.Metadata, message.Metadata{
		events.MetadataCorrelationID: "the-correlation",
		events.MetadataTraceParent:   "the-trace",
		events.MetadataTraceState:    "the-state",
	})
	return d
}

func TestProducedMessages(t *testing.T) {
	run := func(t *testing.T, pub *capture, fn message.HandlerFunc, mw ...message.HandlerMiddleware) transport.Outcome {
		f := newFake()
		r := newRouter(t, f)
		must(t, r.HandleAndPublish("a", fn, pub, "out", mw...))
		stop := start(t, r)
		f.in <- traced("a")
		synctest.Wait()
		must(t, stop())
		return only(t, f)
	}
	bubble(t, "go out in one call before the ack, tied to the event that led to them", func(t *testing.T) {
		pub := &capture{}
		var alive error
		pub.err = func(_ string, messages []*message.Message) error {
			for _, m := range messages {
				alive = errors.Join(alive, m.Context().Err())
			}
			return nil
		}
		type key struct{}
		timeout := func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				ctx, cancel := context.WithTimeout(context.WithValue(msg.Context(), key{}, "mine"), time.Second)
				defer cancel()
				msg.SetContext(ctx)
				return next(msg)
			}
		}
		o := run(t, pub, func(msg *message.Message) ([]*message.Message, error) {
			own := message.NewMessage("3", nil)
			own.Metadata[events.MetadataCorrelationID] = "own"
			own.Metadata[events.MetadataTraceParent] = "own-trace"
			own.SetContext(msg.Context()) // ends with the middleware
			return []*message.Message{message.NewMessage("2", nil), own, msg, {UUID: "4"}}, nil
		}, timeout)
		if o.Settlement != transport.Ack || pub.calls != 1 || !slices.Equal(pub.topic, []string{"out", "out", "out", "out"}) {
			t.Fatalf("settled by %v, published %v", o.Settlement, pub.topic)
		}
		first, own, same := pub.got[0], pub.got[1], pub.got[2]
		if first.Metadata[events.MetadataCorrelationID] != "the-correlation" || first.Metadata[events.MetadataCausationID] != "uuid-of-a" ||
			first.Metadata[events.MetadataTraceParent] != "the-trace" || first.Metadata[events.MetadataTraceState] != "the-state" {
			t.Errorf("metadata %v", first.Metadata)
		}
		if own.Metadata[events.MetadataCorrelationID] != "own" || own.Metadata[events.MetadataTraceParent] != "own-trace" || own.Metadata[events.MetadataTraceState] != "" {
			t.Errorf("own metadata %v", own.Metadata)
		}
		if same == o.Delivery.Message || same.UUID != o.Delivery.Message.UUID || same.Metadata[events.MetadataCausationID] != "" {
			t.Errorf("passed on: %v", same)
		}
		if h, ok := events.HeaderFromContext(own.Context()); !ok || h.ID != "uuid-of-a" || own.Context().Value(key{}) != "mine" || alive != nil {
			t.Errorf("context: header %v, value %v, alive %v", h, own.Context().Value(key{}), alive)
		}
		if context.Cause(own.Context()) == nil {
			t.Error("the context outlives the delivery")
		}
	})
	bubble(t, "are published again when publishing fails", func(t *testing.T) {
		pub := &capture{err: func(string, []*message.Message) error { return errors.New("full") }}
		o := run(t, pub, func(*message.Message) ([]*message.Message, error) {
			return []*message.Message{message.NewMessage("2", nil)}, nil
		})
		if o.Settlement != transport.Retry {
			t.Errorf("settled by %v", o.Settlement)
		}
	})
	bubble(t, "are not published when the handler fails", func(t *testing.T) {
		pub := &capture{}
		o := run(t, pub, func(*message.Message) ([]*message.Message, error) {
			return []*message.Message{message.NewMessage("2", nil)}, errors.New("boom")
		})
		if o.Settlement != transport.Retry || pub.calls != 0 {
			t.Errorf("settled by %v after %d calls", o.Settlement, pub.calls)
		}
	})
	bubble(t, "without a publisher are an error, as is a nil message", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		handle(t, r, "a", nothing, func(message.HandlerFunc) message.HandlerFunc {
			return func(*message.Message) ([]*message.Message, error) { return make([]*message.Message, 1), nil }
		})
		stop := start(t, r)
		f.deliver("a")
		synctest.Wait()
		must(t, stop())
		if o := only(t, f); !errors.Is(o.Cause, errNoPublisher) {
			t.Errorf("cause %v", o.Cause)
		}
		if o := run(t, &capture{}, func(*message.Message) ([]*message.Message, error) { return make([]*message.Message, 1), nil }); o.Settlement != transport.Retry {
			t.Errorf("settled by %v", o.Settlement)
		}
	})
}

func TestPublishingInsideAHandlerCarriesCorrelationCausationAndTraceByContextAlone(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		f, out := newFake(), &capture{}
		pub, err := events.NewPublisher(out, events.PublisherConfig{Origin: "test"})
		must(t, err)
		r := newRouter(t, f)
		must(t, Handle(r, "a", func(ctx context.Context, ev events.Event[body]) error {
			return pub.Publish(ctx, "b.done", ev.Body)
		}))
		stop := start(t, r)
		f.in <- traced("a")
		synctest.Wait()
		must(t, stop())
		if len(out.got) != 1 {
			t.Fatalf("published %d", len(out.got))
		}
		h := events.HeaderOf(out.got[0])
		if h.CorrelationID != "the-correlation" || h.CausationID != "uuid-of-a" || h.TraceParent != "the-trace" || h.TraceState != "the-state" {
			t.Errorf("header %+v", h)
		}
	})
}
