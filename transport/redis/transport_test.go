package redis_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	"github.com/logistically/events/transport/transporttest"
	goredis "github.com/redis/go-redis/v9"
)

func TestTransport(t *testing.T) {
	t.Parallel()
	client := goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr, PoolSize: 100})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	transporttest.Run(t, committing(client))
}

func harness(client goredis.UniversalClient) transporttest.Harness {
	return harnessOf(client, client, client)
}

// committing is a harness whose publishers, subscribers and stores have one client.
func committing(client goredis.UniversalClient) transporttest.Harness {
	h := harness(client)
	h.Claims = func(t *testing.T) transporttest.ClaimStore {
		store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: client})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	return h
}

// harnessOf takes a client for each side, and one that looks on.
func harnessOf(publisher, subscriber, client goredis.UniversalClient) transporttest.Harness {
	const lease = time.Second
	subscribe := func(cfg redis.SubscriberConfig) func(*testing.T, string) message.Subscriber {
		return func(t *testing.T, group string) message.Subscriber {
			cfg := cfg
			cfg.Client, cfg.Group, cfg.Lease, cfg.Block = subscriber, group, lease, 100*time.Millisecond
			sub, err := redis.NewSubscriber(cfg)
			if err != nil {
				t.Fatal(err)
			}
			return sub
		}
	}
	return transporttest.Harness{
		Publisher: func(t *testing.T) message.Publisher {
			pub, err := redis.NewPublisher(redis.PublisherConfig{Client: publisher})
			if err != nil {
				t.Fatal(err)
			}
			return pub
		},
		Subscriber: subscribe(redis.SubscriberConfig{}),
		Exclusive:  subscribe(redis.SubscriberConfig{Exclusive: true}),
		Crash:      func(_ *testing.T, r transport.Receiver) { redis.Crash(r) },
		DeadLetters: func(t *testing.T, topic string) (dead []*message.Message) {
			entries, err := client.XRange(t.Context(), transport.DeadLetterTopic(topic), "-", "+").Result()
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				msg, err := redis.Decode(e.Values)
				if err != nil {
					t.Fatal(err)
				}
				dead = append(dead, msg)
			}
			return dead
		},
		Lease: lease,
	}
}

// An exclusive subscriber is a subscriber like any other.
func TestTransportOfExclusiveSubscribers(t *testing.T) {
	t.Parallel()
	client := goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr, PoolSize: 100})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	h := harness(client)
	h.Subscriber, h.Exclusive = h.Exclusive, nil
	transporttest.Run(t, h)
}
