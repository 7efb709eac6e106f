package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func ExampleRetryConfig_Delay() {
	cfg := middleware.RetryConfig{MaxAttempts: 8, MaxInterval: time.Hour, Multiplier: 10}
	for attempt := 1; attempt < cfg.MaxAttempts; attempt++ {
		fmt.Print(cfg.Delay(attempt), " ")
	}
	// Waits over MaxInProcessDelay, 5 s, are the transport's.
	// Output: 100ms 1s 10s 1m40s 16m40s 1h0m0s 1h0m0s
}

func ExampleRetry_classify() {
	errNotFound, errBusy := errors.New("no such account"), errors.New("busy")
	retry, err := middleware.Retry(middleware.RetryConfig{Classify: func(err error) error {
		switch {
		case errors.Is(err, errNotFound):
			return events.Permanent(err)
		case errors.Is(err, errBusy):
			return events.Snooze(time.Minute, err)
		}
		return err
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, failure := range []error{errNotFound, errBusy} {
		_, err := retry(func(*message.Message) ([]*message.Message, error) { return nil, failure })(message.NewMessage("1", nil))
		fmt.Println(err, events.IsPermanent(err), events.IsSnooze(err))
	}
	// Output:
	// no such account true false
	// busy false true
}

func ExampleTimeout() {
	timeout, err := middleware.Timeout(10 * time.Millisecond)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = timeout(func(msg *message.Message) ([]*message.Message, error) {
		<-msg.Context().Done() // such as a query that gets this context
		return nil, msg.Context().Err()
	})(message.NewMessage("1", nil))
	fmt.Println(errors.Is(err, middleware.ErrTimeout), errors.Is(err, context.DeadlineExceeded))
	// Output: true true
}

func ExampleRecoverer() {
	_, err := middleware.Recoverer()(func(*message.Message) ([]*message.Message, error) { panic("ouch") })(message.NewMessage("1", nil))
	failure, ok := errors.AsType[*events.PanicError](err)
	fmt.Println(err, ok && len(failure.Stack) > 0)
	// Output: panic: ouch true
}

func ExampleRateLimit() {
	limiter, err := middleware.NewLocalLimiter(middleware.LocalLimiterConfig{Rate: 100}) // redis.NewLimiter's is one across processes
	if err != nil {
		fmt.Println(err)
		return
	}
	rateLimit, err := middleware.RateLimit(middleware.RateLimitConfig{Limiter: limiter, Key: "mail service"})
	if err != nil {
		fmt.Println(err)
		return
	}
	begun := time.Now()
	for range 6 {
		if _, err := rateLimit(func(*message.Message) ([]*message.Message, error) { return nil, nil })(message.NewMessage("1", nil)); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(time.Since(begun) >= 50*time.Millisecond)
	// Output: true
}

func ExampleThrottle() {
	limiter, err := middleware.NewLocalLimiter(middleware.LocalLimiterConfig{Rate: 0.1})
	if err != nil {
		fmt.Println(err)
		return
	}
	throttle, err := middleware.Throttle(middleware.ThrottleConfig{
		Limiter: limiter,
		Key:     func(msg *message.Message) string { return msg.Metadata["customer"] },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	handle := throttle(func(msg *message.Message) ([]*message.Message, error) {
		fmt.Println("handled", msg.Metadata["customer"])
		return nil, nil
	})
	for _, customer := range []string{"a", "a", "b"} {
		msg := message.NewMessage("1", nil)
		msg.Metadata["customer"] = customer
		// Package router does this for each delivery.
		d := &transport.Delivery{Message: msg, Topic: "order-events", Attempt: 1}
		msg.SetContext(transport.ContextWithDelivery(context.Background(), d, transport.Capabilities{Attempts: true}))
		if _, err := handle(msg); errors.Is(err, middleware.ErrRateLimited) {
			fmt.Println("put off", customer, events.IsSnooze(err))
		}
	}
	// Output:
	// handled a
	// put off a true
	// handled b
}

func ExampleCircuitBreaker() {
	circuitBreaker, err := middleware.CircuitBreaker(middleware.CircuitBreakerConfig{
		Name: "mail service", OpenFor: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	calls := 0
	handle := circuitBreaker(func(*message.Message) ([]*message.Message, error) {
		if calls++; calls < 5 {
			return nil, errors.New("connection refused")
		}
		return nil, nil
	})
	// The third failure in a row opens the circuit: its message waits until the service
	// is back, and nothing is given up.
	for id := range 3 {
		_, err := handle(message.NewMessage(fmt.Sprint(id), nil))
		fmt.Println(err)
	}
	fmt.Println(calls, "calls")
	// Output:
	// connection refused
	// connection refused
	// <nil>
	// 5 calls
}

func ExampleCorrelation() {
	msg := message.NewMessage("order-7", nil)
	produced, err := middleware.Correlation()(func(*message.Message) ([]*message.Message, error) {
		return []*message.Message{message.NewMessage("mail-1", nil)}, nil
	})(msg)
	if err != nil {
		fmt.Println(err)
	}
	h := events.HeaderOf(produced[0])
	fmt.Println(h.CorrelationID, h.CausationID)
	// Output: order-7 order-7
}

func ExampleLogging() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "took" {
			return slog.Attr{} // for this example to print the same each time
		}
		return a
	}}))
	handle := middleware.Logging(middleware.LoggingConfig{Logger: logger})(func(*message.Message) ([]*message.Message, error) {
		return nil, events.Permanent(errors.New("no such account"))
	})
	msg := message.NewMessage("42", []byte(`{"password":"secret"}`))
	msg.Metadata[events.MetadataType] = "user.created"
	if _, err := handle(msg); err == nil {
		fmt.Println("no error")
	}
	// Output: level=ERROR msg="event given up" type=user.created event=42 topic="" bytes=21 outcome=dead-letter error="no such account"
}

func ExampleMetrics() {
	reader := sdkmetric.NewManualReader() // in a service, one of OTLP or Prometheus
	cfg := middleware.MetricsConfig{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), System: "redis", Group: "mailer"}
	measure, err := middleware.Metrics(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, failure := range []error{nil, nil, errors.New("connection refused")} {
		_, _ = measure(func(*message.Message) ([]*message.Message, error) { return nil, failure })(message.NewMessage("1", nil))
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && sum.IsMonotonic {
			for _, p := range sum.DataPoints {
				outcome, _ := p.Attributes.Value("events.outcome")
				fmt.Println(m.Name, outcome.AsString(), p.Value)
			}
		}
	}
	// Unordered output:
	// messaging.client.consumed.messages ack 2
	// messaging.client.consumed.messages retry 1
}

func ExampleMeasurePublisher() {
	// Without a MeterProvider nothing is recorded.
	broker := &recorder{} // any message.Publisher
	publisher, err := middleware.MeasurePublisher(broker, middleware.MetricsConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(publisher.Publish("user-events", message.NewMessage("1", nil)), len(broker.messages))
	// Output: <nil> 1
}
