package redis_test

import (
	"errors"
	"testing"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
	cluster := goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}, ReadTimeout: time.Second})
	t.Cleanup(func() {
		if err := errors.Join(client.Close(), cluster.Close()); err != nil {
			t.Error(err)
		}
	})
	for field, change := range map[string]func(*redis.SubscriberConfig){
		"Client":          func(c *redis.SubscriberConfig) { c.Client = nil },
		"Group":           func(c *redis.SubscriberConfig) { c.Group = "" },
		"Block":           func(c *redis.SubscriberConfig) { c.Block = time.Nanosecond },
		"Prefetch":        func(c *redis.SubscriberConfig) { c.Prefetch = -1 },
		"PrefetchBytes":   func(c *redis.SubscriberConfig) { c.PrefetchBytes = -1 },
		"Start":           func(c *redis.SubscriberConfig) { c.Start = "garbage" },
		"Lease":           func(c *redis.SubscriberConfig) { c.Lease = time.Millisecond },
		"ReclaimInterval": func(c *redis.SubscriberConfig) { c.ReclaimInterval = 1 },
		"NackDelay":       func(c *redis.SubscriberConfig) { c.NackDelay = -1 },
		"MaxInFlight":     func(c *redis.SubscriberConfig) { c.MaxInFlight = -1 },
	} {
		refused(t, field, client, change)
	}
	for _, start := range []string{"-", "+", ">", "1-", "-1", "1-2-3", "$0", " 0", "0\n"} {
		refused(t, "Start", client, func(c *redis.SubscriberConfig) { c.Start = start })
	}
	refused(t, "Block", client, func(c *redis.SubscriberConfig) { c.Exclusive, c.Block, c.Lease = true, time.Second, 3*time.Second })
	for _, block := range []time.Duration{-1, -time.Second, time.Microsecond} {
		refused(t, "Block", client, func(c *redis.SubscriberConfig) { c.Block = block })
	}
	for _, block := range []time.Duration{0, time.Second, time.Minute} { // 0 means 1 s
		refused(t, "Block", cluster, func(c *redis.SubscriberConfig) { c.Block = block })
	}
	for _, start := range []string{"", "0", "$", "1", "1700000000000-0"} {
		if _, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "g", Start: start}); err != nil {
			t.Errorf("start %q: %v", start, err)
		}
	}
	if _, err := redis.NewSubscriber(redis.SubscriberConfig{Client: cluster, Group: "g", Block: 900 * time.Millisecond}); err != nil {
		t.Errorf("a block below the cluster client's ReadTimeout: %v", err)
	}
	if _, err := redis.NewPublisher(redis.PublisherConfig{}); err == nil {
		t.Error("a publisher without a client")
	}
}

// refused makes sure that a change to a good configuration makes it a bad one.
func refused(t *testing.T, field string, client goredis.UniversalClient, change func(*redis.SubscriberConfig)) {
	t.Helper()
	cfg := redis.SubscriberConfig{Client: client, Group: "g"}
	change(&cfg)
	_, err := redis.NewSubscriber(cfg)
	bad, ok := errors.AsType[*events.ConfigError](err)
	if !ok || bad.Field != "redis.SubscriberConfig."+field || bad.Problem == "" || bad.Remedy == "" {
		t.Errorf("%s: error %v", field, err)
	}
}

func TestTopicsThatCannotWorkAreRefused(t *testing.T) {
	f := newFixture(t)
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g"})
	f.check(err)
	for _, topics := range [][]string{nil, {""}, {"t", "t"}, {"u", "{u}"}, {"t", "u", "t"}, {"a}b"}, {"{}x"}} {
		_, err := sub.Receiver(topics...)
		if _, ok := errors.AsType[*events.ConfigError](err); !ok {
			t.Errorf("%q: error %v", topics, err)
		}
	}
	if keys := f.client.Keys(t.Context(), "*").Val(); len(keys) != 0 {
		t.Errorf("keys were created: %v", keys)
	}
}

func TestAFunctionForDeadLetterTopicsThatFailsIsRefused(t *testing.T) {
	f := newFixture(t)
	for name, fn := range map[string]func(string) string{
		"panics": func(string) string { panic("boom") }, "empty": func(string) string { return "" },
		"the source": func(topic string) string { return topic },
	} {
		sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g", DeadLetterTopic: fn})
		f.check(err)
		if _, err := sub.Receiver("t"); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

func TestAClosedSubscriberOpensNoReceiver(t *testing.T) {
	f := newFixture(t)
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g"})
	f.check(err)
	f.check(sub.Close())
	if _, err := sub.Receiver("t"); !errors.Is(err, events.ErrClosed) {
		t.Errorf("error %v", err)
	}
}
