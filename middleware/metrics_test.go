package middleware_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"
)

type meters struct {
	t      *testing.T
	reader *sdkmetric.ManualReader
	cfg    middleware.MetricsConfig
}

func newMeters(t *testing.T) *meters {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return &meters{t, reader, middleware.MetricsConfig{MeterProvider: provider, System: "memory", Group: "g"}}
}

func (m *meters) middleware() message.HandlerMiddleware {
	m.t.Helper()
	mw, err := middleware.Metrics(m.cfg)
	must(m.t, err)
	return mw
}

// all returns each metric's value by "name{attributes}": the sum of a counter, the count
// and sum of a histogram.
func (m *meters) all() map[string]string {
	m.t.Helper()
	var data metricdata.ResourceMetrics
	must(m.t, m.reader.Collect(context.Background(), &data))
	values := map[string]string{}
	for _, scope := range data.ScopeMetrics {
		for _, one := range scope.Metrics {
			switch d := one.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					values[one.Name+text(p.Attributes)] = fmt.Sprint(p.Value)
				}
			case metricdata.Histogram[float64]:
				if one.Unit != "s" {
					m.t.Errorf("%s is in %q", one.Name, one.Unit)
				}
				for _, p := range d.DataPoints {
					values[one.Name+text(p.Attributes)] = fmt.Sprintf("%d in %v", p.Count, p.Sum)
				}
			default:
				m.t.Errorf("%s is a %T", one.Name, d)
			}
		}
	}
	return values
}

func text(set attribute.Set) string {
	var all []string
	for _, kv := range set.ToSlice() {
		name := strings.TrimPrefix(strings.TrimPrefix(string(kv.Key), "messaging."), "events.")
		if kv.Key != "messaging.system" && kv.Key != "messaging.consumer.group.name" && kv.Key != "messaging.operation.name" {
			all = append(all, name+"="+kv.Value.String())
		}
	}
	return "{" + strings.Join(all, ",") + "}"
}

func wantValues(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	for name, value := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is %q, want none", name, value)
		}
	}
}

func TestMetricsMeasureHandling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeters(t)
		mw := m.middleware()
		ctx, cancel := context.WithCancelCause(context.Background())
		for i, failure := range []error{nil, nil, events.Discard(errBoom), errBoom, events.Permanent(&events.ConfigError{}), events.Snooze(0, errBoom), events.RetryAfter(0, context.DeadlineExceeded)} {
			msg := deliver(newMessage(fmt.Sprint(i)), 1+i/3, full)
			d, _ := transport.DeliveryFromContext(msg.Context())
			d.Stored = time.Now().Add(-time.Minute)
			if i == 0 {
				d.Stored = time.Time{} // Nobody knows.
			}
			_, err := mw(func(*message.Message) ([]*message.Message, error) {
				if got := m.all()["events.process.in_flight{destination.name=user-events}"]; got != "1" {
					t.Errorf("in flight: %q", got)
				}
				timer := time.NewTimer(2 * time.Second)
				defer timer.Stop()
				<-timer.C
				return nil, failure
			})(msg)
			if err != failure {
				t.Errorf("got %v, want %v", err, failure)
			}
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = mw(func(*message.Message) ([]*message.Message, error) { panic("ouch") })(newMessage("panic"))
		}()
		cancel(events.ErrReleased)
		plain := newMessage("released")
		plain.SetContext(ctx)
		_, _ = mw((&handler{errs: []error{errBoom}}).handle)(plain)
		const topic = "destination.name=user-events"
		wantValues(t, m.all(), map[string]string{
			"events.queue.duration{" + topic + "}":                                                                 "2 in 120",
			"events.process.in_flight{" + topic + "}":                                                              "0",
			"events.process.in_flight{}":                                                                           "0",
			"messaging.client.consumed.messages{outcome=ack," + topic + "}":                                        "2",
			"messaging.process.duration{outcome=ack," + topic + "}":                                                "2 in 4",
			"messaging.client.consumed.messages{outcome=discard," + topic + "}":                                    "1",
			"messaging.process.duration{outcome=discard," + topic + "}":                                            "1 in 2",
			"messaging.client.consumed.messages{error.type=_OTHER,outcome=retry," + topic + "}":                    "1",
			"messaging.process.duration{error.type=_OTHER,outcome=retry," + topic + "}":                            "1 in 2",
			"messaging.client.consumed.messages{error.type=*events.ConfigError,outcome=dead-letter," + topic + "}": "1",
			"messaging.process.duration{error.type=*events.ConfigError,outcome=dead-letter," + topic + "}":         "1 in 2",
			"messaging.client.consumed.messages{error.type=_OTHER,outcome=snooze," + topic + "}":                   "1",
			"messaging.process.duration{error.type=_OTHER,outcome=snooze," + topic + "}":                           "1 in 2",
			"messaging.client.consumed.messages{error.type=timeout,outcome=retry," + topic + "}":                   "1",
			"messaging.process.duration{error.type=timeout,outcome=retry," + topic + "}":                           "1 in 2",
			"messaging.client.consumed.messages{error.type=panic,outcome=panic}":                                   "1",
			"messaging.process.duration{error.type=panic,outcome=panic}":                                           "1 in 0",
			"messaging.client.consumed.messages{error.type=_OTHER,outcome=release}":                                "1",
			"messaging.process.duration{error.type=_OTHER,outcome=release}":                                        "1 in 0",
		})
	})
}

func TestMeasurePublisherCountsWhatFailed(t *testing.T) {
	m := newMeters(t)
	broker := &recorder{}
	pub, err := middleware.MeasurePublisher(broker, m.cfg)
	must(t, err)
	must(t, pub.Publish("t", newMessage("1"), newMessage("2")))
	broker.err = &events.PublishError{Topic: "t", Total: 3, Failed: []events.FailedMessage{{}}}
	if err := pub.Publish("t", newMessage("3"), newMessage("4"), newMessage("5")); err != broker.err {
		t.Errorf("got %v", err)
	}
	broker.err = errBoom
	if err := pub.Publish("t", newMessage("6")); err != errBoom {
		t.Errorf("got %v", err)
	}
	got := m.all()
	for name, value := range map[string]string{
		"messaging.client.sent.messages{destination.name=t,operation.type=send}":                                 "4",
		"messaging.client.sent.messages{error.type=*events.PublishError,destination.name=t,operation.type=send}": "1",
		"messaging.client.sent.messages{error.type=_OTHER,destination.name=t,operation.type=send}":               "1",
	} {
		if got[name] != value {
			t.Errorf("%s is %q, want %q of %v", name, got[name], value, got)
		}
	}
	if !strings.HasPrefix(got["messaging.client.operation.duration{destination.name=t,operation.type=send}"], "1 in ") {
		t.Errorf("durations: %v", got)
	}
	must(t, pub.Close())
}

// Ten thousand events make no more series than one does.
func TestMetricsHaveNoCardinalityFromIDs(t *testing.T) {
	m := newMeters(t)
	mw := m.middleware()
	for i := range 10_000 {
		msg := deliver(newMessage(fmt.Sprint(i)), 1+i%7, full)
		msg.Metadata[events.MetadataCorrelationID] = fmt.Sprint(i)
		_, _ = mw((&handler{errs: []error{fmt.Errorf("event %d: %w", i, errBoom)}}).handle)(msg)
	}
	if got := m.all(); len(got) != 3 { // in flight, duration, consumed
		t.Errorf("%d series: %v", len(got), got)
	}
}

// refusing refuses all histograms.
type refusing struct{ noop.Meter }

func (refusing) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return nil, errBoom
}

type brokenProvider struct{ noop.MeterProvider }

func (brokenProvider) Meter(string, ...metric.MeterOption) metric.Meter { return refusing{} }

func TestMetricsRefuse(t *testing.T) {
	cfg := middleware.MetricsConfig{MeterProvider: brokenProvider{}}
	_, err := middleware.Metrics(cfg)
	wantConfigError(t, "a meter that refuses", err)
	_, err = middleware.MeasurePublisher(&recorder{}, cfg)
	wantConfigError(t, "a meter that refuses", err)
	_, err = middleware.MeasurePublisher(nil, middleware.MetricsConfig{})
	wantConfigError(t, "no publisher", err)
}

// What is published, handled, published again, retried and redriven is one tree of
// spans, with links from an attempt to the failed one before it.
func TestTheTreeOverPublishConsumePublishRetryAndRedrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newSpans(t), newMeters(t)
		broker := memory.NewBroker(memory.BrokerConfig{})
		transportPub, err := memory.NewPublisher(broker)
		must(t, err)
		measured, err := middleware.MeasurePublisher(s.publisher(t, transportPub), m.cfg)
		must(t, err)
		pub, err := events.NewPublisher(measured, events.PublisherConfig{Origin: "test"})
		must(t, err)
		sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
		must(t, err)
		r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"user-events", "mail-events"}, Logger: silent})
		must(t, err)
		r.Use(middleware.Tracing(s.cfg), m.middleware(), poisonQueue(t, middleware.PoisonConfig{}))
		runs := 0
		must(t, r.HandleMessage("user.created", func(msg *message.Message) error {
			switch runs++; runs {
			case 1:
				return events.RetryAfter(time.Minute, errBoom)
			case 2:
				return errBoom // a dead letter
			}
			return pub.Publish(msg.Context(), "mail.sent", nil)
		}))
		must(t, r.HandleMessage("mail.sent", func(*message.Message) error { return nil }))
		must(t, pub.Publish(t.Context(), "user.created", nil))
		redrive := time.AfterFunc(time.Hour, func() {
			letters := broker.Messages(transport.DeadLetterTopic("user-events"))
			if len(letters) != 1 {
				t.Errorf("%d dead letters", len(letters))
				return
			}
			letters[0].SetContext(context.Background())
			if err := transportPub.Publish("user-events", letters[0]); err != nil {
				t.Error(err)
			}
		})
		defer redrive.Stop()
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Hour)
		defer stop()
		must(t, r.Run(ctx))

		first, mail, last := s.named(t, "publish user-events"), s.named(t, "publish mail-events"), s.named(t, "process mail-events")
		var attempts []int
		all := s.exporter.GetSpans()
		for i, span := range all {
			if span.Name != "process user-events" {
				continue
			}
			wantParent(t, span, first)
			links := 0
			if len(attempts) > 0 {
				links = 1
			}
			if len(span.Links) != links {
				t.Errorf("attempt %d has links %v", len(attempts)+1, span.Links)
			} else if links == 1 && !sameSpan(span.Links[0].SpanContext, all[attempts[len(attempts)-1]].SpanContext) {
				t.Errorf("attempt %d is not linked to the one before", len(attempts)+1)
			}
			attempts = append(attempts, i)
		}
		if len(attempts) != 3 {
			t.Fatalf("%d attempts", len(attempts))
		}
		wantParent(t, mail, all[attempts[2]])
		wantParent(t, last, mail)
		got := m.all()
		for name, value := range map[string]string{
			"messaging.client.consumed.messages{error.type=_OTHER,outcome=retry,destination.name=user-events}":       "1",
			"messaging.client.consumed.messages{error.type=_OTHER,outcome=dead-letter,destination.name=user-events}": "1",
			"messaging.client.consumed.messages{outcome=ack,destination.name=user-events}":                           "1",
			"messaging.client.consumed.messages{outcome=ack,destination.name=mail-events}":                           "1",
			"messaging.client.sent.messages{destination.name=user-events,operation.type=send}":                       "1",
			"messaging.client.sent.messages{destination.name=mail-events,operation.type=send}":                       "1",
			"events.queue.duration{destination.name=mail-events}":                                                    "1 in 0",
		} {
			if got[name] != value {
				t.Errorf("%s is %q, want %q", name, got[name], value)
			}
		}
		if t.Failed() {
			t.Log(got)
		}
	})
}

func sameSpan(a, b trace.SpanContext) bool {
	return a.SpanID() == b.SpanID() && a.TraceID() == b.TraceID()
}
