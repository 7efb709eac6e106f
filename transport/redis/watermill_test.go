package redis_test

import (
	"io"
	"log"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// Watermill's own suite, as a plain Publisher and Subscriber.
func TestWatermillUniversalSuite(t *testing.T) { watermillSuite(t, false, tests.TestPubSub) }

// Its stress form is the suite several times at once; see TestMain for how often.
func TestWatermillUniversalSuiteUnderStress(t *testing.T) {
	watermillSuite(t, false, tests.TestPubSubStressTest)
}

func watermillSuite(t *testing.T, packed bool, run func(*testing.T, tests.Features, tests.PubSubConstructor, tests.ConsumerGroupPubSubConstructor)) {
	t.Parallel()
	log.SetOutput(io.Discard)
	client := goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr, PoolSize: 200})
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	open := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
		if err != nil {
			t.Fatal(err)
		}
		if packed {
			pub = packAll(t, client)
		}
		sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: group, Block: 50 * time.Millisecond, Lease: 3 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return pub, sub
	}
	run(t, tests.Features{
		ConsumerGroups: true, Persistent: true, GuaranteedOrderWithSingleSubscriber: true, NewSubscriberReceivesOldMessages: true,
	}, func(t *testing.T) (message.Publisher, message.Subscriber) {
		// A test's subscribers share the messages and go on where others ended,
		// except where the test is about new ones.
		group := t.Name()
		if strings.Contains(group, "NewSubscriber") {
			group = watermill.NewShortUUID()
		}
		return open(t, group)
	}, open)
}
