package middleware_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// onRedis runs two consumers of one group, each a router with its own middleware, until
// all of n messages are handled; then it calls verify.
func onRedis(t *testing.T, n int, chain func() []message.HandlerMiddleware, handle message.NoPublishHandlerFunc, verify func(client *goredis.Client)) {
	t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr})
	defer func() { must(t, client.Close()) }()
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	must(t, err)
	must(t, pub.Publish("user-events", numbered(n)...))
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var mu sync.Mutex
	handled := map[string]bool{}
	var all sync.WaitGroup
	for range 2 {
		sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "g", Logger: silent})
		must(t, err)
		r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}, Concurrency: 8, Logger: silent})
		must(t, err)
		r.Use(chain()...)
		must(t, r.HandleMessage("user.created", func(msg *message.Message) error {
			if err := handle(msg); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if handled[msg.UUID] = true; len(handled) == n {
				stop()
			}
			return nil
		}))
		all.Go(func() {
			if err := r.Run(ctx); err != nil {
				t.Error(err)
			}
			if err := sub.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(handled) != n {
		t.Errorf("%d of %d are handled", len(handled), n)
	}
	verify(client)
}

func TestP17_AnOpenCircuitPausesOnRedis(t *testing.T) {
	const n = 300
	away := awayUntil(time.Now().Add(2 * time.Second))
	onRedis(t, n, func() []message.HandlerMiddleware {
		return []message.HandlerMiddleware{
			poisonQueue(t, middleware.PoisonConfig{}), retry(t, middleware.RetryConfig{}),
			circuitBreaker(t, middleware.CircuitBreakerConfig{OpenFor: 200 * time.Millisecond}),
		}
	}, away.handle, func(client *goredis.Client) {
		ctx := context.WithoutCancel(t.Context())
		if dead := client.XLen(ctx, transport.DeadLetterTopic("user-events")).Val(); dead != 0 {
			t.Errorf("%d dead letters", dead)
		}
		if p := client.XPending(ctx, "user-events", "g").Val(); p != nil && p.Count != 0 {
			t.Errorf("%d entries are pending", p.Count)
		}
	})
	// Two consumers: at most their first failures, and one try each 200 ms.
	if calls := len(away.calls); calls < 3 || calls > 2*(8+3+11) {
		t.Errorf("the service was called %d times while it was away", calls)
	}
}

func TestARateIsOneOfAllConsumersOnRedis(t *testing.T) {
	const n, rate = 60, 100
	var mu sync.Mutex
	var at []time.Time
	limits := goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr})
	limiter, err := redis.NewLimiter(redis.LimiterConfig{Client: limits, Rate: rate})
	must(t, err)
	begun := time.Now()
	onRedis(t, n, func() []message.HandlerMiddleware {
		return []message.HandlerMiddleware{rateLimit(t, middleware.RateLimitConfig{Limiter: limiter, Key: "k"})}
	}, func(*message.Message) error {
		mu.Lock()
		defer mu.Unlock()
		at = append(at, time.Now())
		return nil
	}, func(client *goredis.Client) {})
	if took := at[n-1].Sub(begun); took < (n-1)*time.Second/rate {
		t.Errorf("%d turns at %d a second took %v", n, rate, took)
	}
	must(t, limiter.Close())
	must(t, limits.Close())
}
