package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// walk is a service on Redis with the options of the TypeScript README.
type walk struct {
	t      *testing.T
	client *goredis.Client
	pub    message.Publisher
	router *router.Router
	stop   func()
}

func newWalk(t *testing.T, cfg router.Config, prefetch int, register func(*walk)) *walk {
	t.Helper()
	w := &walk{t: t, client: goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr})}
	t.Cleanup(func() { must(t, w.client.Close()) })
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: w.client})
	must(t, err)
	w.pub = pub
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{
		Client: w.client, Group: "user-processors", Consumer: "worker-1", Block: 100 * time.Millisecond, Prefetch: prefetch,
		DeadLetterTopic: func(topic string) string { return topic + "-dlq" },
	})
	must(t, err)
	cfg.Subscriber, cfg.Logger = sub, slog.New(slog.NewTextHandler(t.Output(), nil))
	w.router, err = router.New(cfg)
	must(t, err)
	register(w)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.router.Run(ctx) }()
	<-w.router.Running()
	w.stop = sync.OnceFunc(func() {
		cancel()
		must(t, errors.Join(<-done, sub.Close()))
	})
	t.Cleanup(w.stop)
	return w
}

func (w *walk) publish(next message.Publisher, eventType string, bodies ...any) {
	w.t.Helper()
	publisher, err := events.NewPublisher(next, events.PublisherConfig{Origin: "user-service"})
	must(w.t, err)
	for _, body := range bodies {
		must(w.t, publisher.Publish(w.t.Context(), eventType, body))
	}
}

// retryAttempts: 3, deadLetterStream: 'user-events-dlq', consumer: 'worker-1'.
func TestREADME_AFailingEventIsTriedThreeTimesAndIsInTheStreamThatWasNamedOnRedis(t *testing.T) {
	var attempts atomic.Int32
	w := newWalk(t, router.Config{Topics: []string{"user-events"}}, 0, func(w *walk) {
		poisonQueue, err := middleware.PoisonQueue(middleware.PoisonConfig{})
		must(t, err)
		retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 3, InitialInterval: time.Millisecond})
		must(t, err)
		w.router.Use(poisonQueue, retry)
		must(t, router.Handle(w.router, "user.updated", func(context.Context, events.Event[string]) error {
			attempts.Add(1)
			return errors.New("the database is away")
		}))
	})
	w.publish(w.pub, "user.updated", "Ada")
	until(t, "a dead letter", func() bool { return w.client.XLen(t.Context(), "user-events-dlq").Val() == 1 })
	dead, err := redis.Decode(w.client.XRange(t.Context(), "user-events-dlq", "-", "+").Val()[0].Values)
	must(t, err)
	if attempts.Load() != 3 || string(dead.Payload) != `"Ada"` || dead.Metadata[transport.MetadataFailureHandler] != "user.updated" {
		t.Errorf("%d attempts, dead letter %s with %v", attempts.Load(), dead.Payload, dead.Metadata)
	}
	if c := w.client.XInfoConsumers(t.Context(), "user-events", "user-processors").Val(); len(c) != 1 || c[0].Name != "worker-1" || c[0].Pending != 0 {
		t.Errorf("consumers %+v", c)
	}
}

// maxPendingMessages: 5. What the server counts as pending is what the router holds
// and what was read ahead for it.
func TestREADME_MaxPendingMessagesBoundsWhatIsPendingOnRedis(t *testing.T) {
	const held, ahead = 5, 4
	begun, release := make(chan struct{}, 100), make(chan struct{})
	w := newWalk(t, router.Config{Topics: []string{"user-events"}, Concurrency: held, Prefetch: 1, MaxInFlight: held}, ahead, func(w *walk) {
		must(t, router.Handle(w.router, "user.created", func(context.Context, events.Event[int]) error {
			begun <- struct{}{}
			<-release
			return nil
		}))
	})
	for n := range 50 {
		w.publish(w.pub, "user.created", n)
	}
	for range held {
		<-begun
	}
	pending := func() int64 { return w.client.XPending(t.Context(), "user-events", "user-processors").Val().Count }
	until(t, "reading ahead", func() bool { return pending() >= held+1 })
	for range 20 { // It stays so.
		if n := pending(); n > held+ahead {
			t.Fatalf("%d pending, with %d held and %d read ahead at most", n, held, ahead)
		}
		<-time.After(10 * time.Millisecond)
	}
	close(release)
	until(t, "the rest", func() bool { return w.router.Stats().Acked == 50 && pending() == 0 })
}

// routingConfig with prefixes, and batchConfig, on the way out; the same topics and
// priorities on the way in.
func TestREADME_RoutedAndBatchedEventsArriveByTheirPrefixAndPriorityOnRedis(t *testing.T) {
	var mu sync.Mutex
	got := map[string]string{}
	topics := []string{"user-events:user-events", "payment-events:payment-events"}
	w := newWalk(t, router.Config{Topics: topics, Weights: map[string]int{topics[1]: 8}}, 0, func(w *walk) {
		must(t, w.router.HandleMessage("**", func(msg *message.Message) error {
			d, _ := transport.DeliveryFromContext(msg.Context())
			mu.Lock()
			defer mu.Unlock()
			got[events.HeaderOf(msg).Type] = fmt.Sprintf("%s %s %q", d.Topic, msg.Payload, msg.Metadata[events.MetadataPriority])
			return nil
		}))
	})
	table, err := router.NewTable(router.TableConfig{
		Default: "redis", Transports: map[string]message.Publisher{"redis": w.pub},
		Routes: []router.Route{
			{Pattern: "user.*", Transport: "redis", Prefix: "user-events:"},
			{Pattern: "payment.*", Transport: "redis", Prefix: "payment-events:", Priority: router.PriorityHigh},
		},
	})
	must(t, err)
	batches, err := batching.NewPublisher(table, batching.Config{
		Mode: batching.Buffered, MaxSize: 100, MaxWait: time.Hour, MaxConcurrentBatches: 5, Strategy: batching.ExactType,
	})
	must(t, err)
	w.publish(batches, "user.created", "Ada")
	w.publish(batches, "payment.taken", 7)
	if s := batches.MemoryStats(); s.Messages != 2 || s.Queues != 2 || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	must(t, errors.Join(batches.Flush(t.Context()), batches.Close()))
	until(t, "both", func() bool { return w.router.Stats().Acked == 2 })
	mu.Lock()
	defer mu.Unlock()
	if got["user.created"] != `user-events:user-events "Ada" ""` || got["payment.taken"] != `payment-events:payment-events 7 "high"` {
		t.Errorf("got %v", got)
	}
}

// header.hash for idempotency: the same event under another id is handled once.
func TestREADME_AnEventIsHandledOnceByItsHashOnRedis(t *testing.T) {
	var runs atomic.Int32
	w := newWalk(t, router.Config{Topics: []string{"user-events"}}, 0, func(w *walk) {
		store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: w.client})
		must(t, err)
		once, err := middleware.Idempotency(middleware.IdempotencyConfig{Store: store, Scope: "user-processors", Key: middleware.KeyByHash, BusyDelay: 10 * time.Millisecond})
		must(t, err)
		must(t, router.Handle(w.router, "user.created", func(_ context.Context, ev events.Event[map[string]string]) error {
			if ev.Body["userId"] == "1" && runs.Add(1) == 1 {
				return errors.New("throw error; // Will trigger retry")
			}
			return nil
		}, once))
	})
	for range 5 {
		w.publish(w.pub, "user.created", map[string]string{"userId": "1"}, map[string]string{"userId": "2"})
	}
	until(t, "all", func() bool { return w.router.Stats().Acked == 10 })
	if runs.Load() != 2 { // One failed, and one was good.
		t.Errorf("the handler ran %d times", runs.Load())
	}
}
