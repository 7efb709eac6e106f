package e2e

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// What v2 calls autoAck: false: the handler settles, past the lease and from
// another goroutine; what it has not settled at a shutdown is there again at once.
func TestAHandlerThatSettlesByItselfKeepsItsDeliveryOnRedis(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr})
	defer client.Close()
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	must(t, err)
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "shop"})
	must(t, err)
	const lease = 2 * time.Second
	type call struct {
		order   string
		settler *router.Settler
		ctx     context.Context
	}
	consumer := func() (calls chan call, stop func() router.Stats) {
		sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "g", Lease: lease, Block: 100 * time.Millisecond})
		must(t, err)
		r, err := router.New(router.Config{
			Subscriber: sub, Topics: []string{"order-events"}, DrainTimeout: 100 * time.Millisecond,
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		must(t, err)
		calls = make(chan call, 10)
		must(t, router.HandleManual(r, "order.*", router.ManualConfig{}, func(ctx context.Context, ev events.Event[string], s *router.Settler) error {
			calls <- call{ev.Body, s, ctx}
			return nil
		}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		return calls, func() router.Stats {
			cancel()
			must(t, <-done)
			must(t, sub.Close())
			return r.Stats()
		}
	}

	must(t, publisher.Publish(t.Context(), "order.placed", "kept"))
	must(t, publisher.Publish(t.Context(), "order.placed", "settled"))
	first, stopFirst := consumer()
	held := map[string]call{}
	for range 2 {
		c := <-first
		held[c.order] = c
	}
	second, stopSecond := consumer()
	select { // Another consumer looks for lost leases all the while.
	case c := <-second:
		t.Errorf("%q was delivered a second time", c.order)
	case <-time.After(2 * lease):
	}
	if stats := stopSecond(); stats.Received != 0 {
		t.Errorf("another consumer got %d deliveries", stats.Received)
	}
	if c := held["settled"]; c.ctx.Err() != nil || !c.settler.Settle(nil) {
		t.Errorf("not settled: %v", c.ctx.Err())
	}
	<-held["settled"].ctx.Done()
	if stats := stopFirst(); stats.Acked != 1 || stats.Released != 1 {
		t.Errorf("%+v", stats)
	}
	if held["kept"].settler.Settle(nil) {
		t.Error("a released delivery was settled")
	}

	third, stopThird := consumer()
	c := <-third
	if c.order != "kept" {
		t.Errorf("got %q", c.order)
	}
	c.settler.Settle(nil)
	<-c.ctx.Done()
	if stats := stopThird(); stats.Acked != 1 {
		t.Errorf("%+v", stats)
	}
	pending, err := client.XPending(t.Context(), "order-events", "g").Result()
	must(t, err)
	if pending.Count != 0 {
		t.Errorf("%d pending", pending.Count)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
