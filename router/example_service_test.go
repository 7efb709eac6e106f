package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

// service is what the examples below have in common: a broker with a publisher
// and a router.
type service struct {
	broker    *memory.Broker
	publisher *events.Publisher
	router    *router.Router
}

func newService(topic string, deadLetters func(topic string) string) *service {
	s := &service{broker: memory.NewBroker(memory.BrokerConfig{})}
	pub, pubErr := memory.NewPublisher(s.broker)
	sub, subErr := memory.NewSubscriber(s.broker, memory.SubscriberConfig{Group: "processors", DeadLetterTopic: deadLetters})
	var typedErr, err error
	s.publisher, typedErr = events.NewPublisher(pub, events.PublisherConfig{Origin: "example"})
	s.router, err = router.New(router.Config{
		Subscriber: sub, Topics: []string{topic}, Concurrency: 1, DrainTimeout: 15 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	})
	orPanic(errors.Join(pubErr, subErr, typedErr, err))
	return s
}

// runUntil runs the router until done is closed.
func (s *service) runUntil(done <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-done
		cancel()
	}()
	orPanic(s.router.Run(ctx))
}

func orPanic(err error) {
	if err != nil {
		panic(err)
	}
}

// An event that comes twice, under two ids, is handled once: it is known by its hash.
func Example_idempotent() {
	s := newService("user-events", nil)
	store, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{}) // redis.NewIdempotencyStore
	orPanic(err)
	once, err := middleware.Idempotency(middleware.IdempotencyConfig{Store: store, Scope: "processors", Key: middleware.KeyByHash})
	orPanic(err)
	done := make(chan struct{})
	orPanic(router.Handle(s.router, "user.created", func(_ context.Context, ev events.Event[string]) error {
		fmt.Println("created", ev.Body) // An error would have it tried again.
		if ev.Body == "last" {
			close(done)
		}
		return nil
	}, once))
	for _, name := range []string{"Ada", "Ada", "last"} {
		orPanic(s.publisher.Publish(context.Background(), "user.created", name))
	}
	s.runUntil(done)
	// Output:
	// created Ada
	// created last
}

// A handler publishes what follows from its event. Its context carries on who
// caused what.
func Example_relatedEvents() {
	type orderCreated struct{ OrderID, CustomerID string }
	s := newService("order-events", nil)
	done := make(chan struct{})
	orPanic(router.Handle(s.router, "order.created", func(ctx context.Context, ev events.Event[orderCreated]) error {
		defer close(done)
		return errors.Join( // If one fails, the event is handled again, and both are published again.
			s.publisher.Publish(ctx, "inventory.reserved", map[string]string{"orderId": ev.Body.OrderID}),
			s.publisher.Publish(ctx, "notification.sent", map[string]string{"userId": ev.Body.CustomerID, "type": "order_created"}),
		)
	}))
	orPanic(s.publisher.Publish(context.Background(), "order.created", orderCreated{"7", "1"}))
	s.runUntil(done)
	order := events.HeaderOf(s.broker.Messages("order-events")[0])
	for _, topic := range []string{"inventory-events", "notification-events"} {
		msg := s.broker.Messages(topic)[0]
		h := events.HeaderOf(msg)
		fmt.Println(h.Type, string(msg.Payload), "caused by the order:", h.CausationID == order.ID && h.CorrelationID == order.CorrelationID)
	}
	// Output:
	// inventory.reserved {"orderId":"7"} caused by the order: true
	// notification.sent {"type":"order_created","userId":"1"} caused by the order: true
}

var errUserNotFound = errors.New("user not found")

// What no retry will mend is dropped or given up at once; the rest is tried three
// times. What is given up is in the dead letters, with the reason.
func Example_errors() {
	s := newService("user-events", func(topic string) string { return topic + "-dlq" })
	poisonQueue, err := middleware.PoisonQueue(middleware.PoisonConfig{})
	orPanic(err)
	retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 3, InitialInterval: time.Millisecond})
	orPanic(err)
	s.router.Use(poisonQueue, retry)
	attempts, done := map[string]int{}, make(chan struct{})
	orPanic(router.Handle(s.router, "user.updated", func(_ context.Context, ev events.Event[string]) error {
		attempts[ev.Body]++
		switch ev.Body {
		case "unknown":
			return events.Discard(errUserNotFound) // Nothing to be done.
		case "broken":
			return errors.New("the database is away")
		case "malformed":
			return events.Permanent(errors.New("no such plan"))
		}
		close(done)
		return nil
	}))
	for _, user := range []string{"unknown", "broken", "malformed", "fine"} {
		orPanic(s.publisher.Publish(context.Background(), "user.updated", user))
	}
	s.runUntil(done)
	fmt.Println(attempts)
	for _, msg := range s.broker.Messages("user-events-dlq") {
		fmt.Println(string(msg.Payload), msg.Metadata[transport.MetadataFailureReason])
	}
	// Output:
	// map[broken:3 fine:1 malformed:1 unknown:1]
	// "broken" after 3 attempts: the database is away
	// "malformed" no such plan
}

// At SIGTERM the router stops receiving and lets handlers finish; then buffered
// events go out, and what could not be sent is saved.
func Example_shutdown() {
	s := newService("user-events", nil)
	batches, err := batching.NewPublisher(broken{}, batching.Config{Mode: batching.Buffered, Logger: slog.New(slog.DiscardHandler)})
	orPanic(err)
	views, err := events.NewPublisher(batches, events.PublisherConfig{Origin: "example"})
	orPanic(err)
	done := make(chan struct{})
	orPanic(router.Handle(s.router, "user.created", func(context.Context, events.Event[string]) error {
		close(done) // The signal comes now, and the handler goes on.
		return nil
	}))
	orPanic(s.publisher.Publish(context.Background(), "user.created", "Ada"))
	orPanic(views.Publish(context.Background(), "profile.viewed", "Ada")) // by a request, say

	// ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	s.runUntil(done)
	fmt.Println("acked:", s.router.Stats().Acked)

	sending, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	fmt.Println("shut down:", batches.Shutdown(sending))
	for _, failed := range batches.TakeFailed() {
		fmt.Println("saved:", failed.Topic, string(failed.Message.Payload), "because", failed.Err)
	}
	// Output:
	// acked: 1
	// shut down: <nil>
	// saved: profile-events "Ada" because the server is away
}

// broken is a transport whose server is away.
type broken struct{}

func (broken) Publish(string, ...*message.Message) error { return errors.New("the server is away") }
func (broken) Close() error                              { return nil }

// One endpoint says how the consumer is and what the publisher holds.
func Example_health() {
	s := newService("user-events", nil)
	batches, err := batching.NewPublisher(broken{}, batching.Config{})
	orPanic(err)
	health, err := s.router.Health(router.HealthConfig{
		MaxStall: time.Minute,
		Checks:   map[string]func(context.Context) error{"redis": func(context.Context) error { return nil }}, // client.Ping(ctx).Err()
	})
	orPanic(err)
	endpoint := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		consumer := health.Ready(req.Context())
		w.WriteHeader(consumer.StatusCode())
		if err := json.NewEncoder(w).Encode(map[string]any{"consumer": consumer, "publisher": batches.MemoryStats()}); err != nil {
			panic(err)
		}
	})
	probe := func() {
		answer := httptest.NewRecorder()
		endpoint(answer, httptest.NewRequest(http.MethodGet, "/health", nil))
		var body struct {
			Consumer  router.HealthReport
			Publisher batching.MemoryStats
		}
		orPanic(json.Unmarshal(answer.Body.Bytes(), &body))
		fmt.Println(answer.Code, body.Consumer.State, body.Consumer.OK, "with", body.Publisher.Messages, "buffered and", body.Publisher.Failed, "failed")
	}
	orPanic(router.Handle(s.router, "user.*", func(context.Context, events.Event[string]) error { return nil }))
	probe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		<-s.router.Running()
		probe()
	}()
	s.runUntil(done)
	orPanic(batches.Close())
	// Output:
	// 503 new false with 0 buffered and 0 failed
	// 200 running true with 0 buffered and 0 failed
}

// counter is a middleware and a publisher decorator of the service's own.
type counter struct {
	next                                  message.Publisher
	published, failed, handled, unhandled atomic.Int64
}

func (c *counter) Publish(topic string, messages ...*message.Message) error {
	err := c.next.Publish(topic, messages...)
	errs, _ := events.FailedOf(err, messages)
	for _, err := range errs {
		if err != nil {
			c.failed.Add(1)
		} else {
			c.published.Add(1)
		}
	}
	return err
}

func (c *counter) Close() error { return c.next.Close() }

func (c *counter) middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		produced, err := next(msg)
		if err != nil {
			c.unhandled.Add(1)
		} else {
			c.handled.Add(1)
		}
		return produced, err
	}
}

// Counting is ten lines on either side: a decorator and a middleware.
func Example_metrics() {
	s := newService("user-events", nil)
	pub, err := memory.NewPublisher(s.broker)
	orPanic(err)
	metrics := &counter{next: pub}
	publisher, err := events.NewPublisher(metrics, events.PublisherConfig{Origin: "example"})
	orPanic(err)
	s.router.Use(metrics.middleware)
	done := make(chan struct{})
	orPanic(router.Handle(s.router, "user.created", func(_ context.Context, ev events.Event[int]) error {
		if ev.Body == 3 {
			close(done)
			return events.Permanent(errors.New("odd"))
		}
		return nil
	}))
	for n := range 4 {
		orPanic(publisher.Publish(context.Background(), "user.created", n))
	}
	s.runUntil(done)
	fmt.Printf("published %d, failed %d; handled %d, failed %d (%.0f%%)\n", metrics.published.Load(), metrics.failed.Load(),
		metrics.handled.Load(), metrics.unhandled.Load(), 100*float64(metrics.handled.Load())/4)
	// Output:
	// published 4, failed 0; handled 3, failed 1 (75%)
}
