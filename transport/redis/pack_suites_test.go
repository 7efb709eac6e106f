package redis_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport/redis"
	"github.com/logistically/events/transport/transporttest"
	goredis "github.com/redis/go-redis/v9"
)

// Packing changes nothing that can be seen: all suites pass with every message in a
// pack, those that come alone as well.

func TestTransportPacked(t *testing.T) {
	t.Parallel()
	client := goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr, PoolSize: 100})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	h := committing(client)
	h.Publisher = func(t *testing.T) message.Publisher { return packAll(t, client) }
	transporttest.Run(t, h)
}

func packAll(t *testing.T, client goredis.UniversalClient) *redis.Publisher {
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client, Pack: &redis.PackConfig{}})
	if err != nil {
		t.Fatal(err)
	}
	return redis.PackAll(pub)
}

func TestWatermillUniversalSuitePacked(t *testing.T) { watermillSuite(t, true, tests.TestPubSub) }
