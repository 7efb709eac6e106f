package redis_test

import (
	"testing"
	"time"

	"github.com/logistically/events/transport/redis"
)

func TestIdempotencyStoreTransitions(t *testing.T) {
	f := newFixture(t)
	store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: f.client})
	f.check(err)
	ctx := t.Context()
	begin := func(token, want string) {
		t.Helper()
		started, done, err := store.Begin(ctx, "k", token, time.Hour)
		f.check(err)
		got := map[[2]bool]string{{true, false}: "started", {false, true}: "done", {false, false}: "busy"}[[2]bool{started, done}]
		if got != want {
			t.Errorf("begin by %s: %s, want %s", token, got, want)
		}
	}
	begin("a", "started")
	begin("a", "started") // again, after a reply that was lost
	begin("b", "busy")
	f.check(store.Abort(ctx, "k", "b")) // not b's to drop
	begin("b", "busy")
	f.check(store.Abort(ctx, "k", "a"))
	begin("b", "started")
	if err := store.Done(ctx, "k", "a", time.Hour); err == nil {
		t.Error("a marked b's claim as done")
	}
	f.check(f.client.PExpire(ctx, "idempotency:k", 0).Err()) // b's lease runs out
	f.check(store.Done(ctx, "k", "b", time.Hour))
	begin("a", "done")
	f.check(store.Abort(ctx, "k", "b")) // too late
	begin("c", "done")
	if ttl := f.client.PTTL(ctx, "idempotency:k").Val(); ttl <= 0 || ttl > time.Hour {
		t.Errorf("the mark is kept for %v", ttl)
	}
}
