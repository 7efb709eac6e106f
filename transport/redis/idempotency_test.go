package redis_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func (f *fixture) idempotency() *redis.IdempotencyStore {
	f.t.Helper()
	store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: f.client})
	f.check(err)
	return store
}

func claimOf(key, token string) transport.Claim {
	return transport.Claim{Key: key, Token: token, Fingerprint: "f0", Lease: time.Hour, Keep: time.Hour}
}

var stateNames = map[transport.ClaimState]string{
	transport.ClaimStarted: "started", transport.ClaimBusy: "busy", transport.ClaimMarked: "done", transport.ClaimMismatch: "mismatch",
}

func (f *fixture) wantBegin(store *redis.IdempotencyStore, c transport.Claim, want string) {
	f.t.Helper()
	results, err := store.Begin(f.t.Context(), c)
	f.check(err)
	if got := stateNames[results[0].State] + string(results[0].Produced); got != want {
		f.t.Errorf("begin by %s: %s, want %s", c.Token, got, want)
	}
}

func TestIdempotencyStoreTransitions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	store := f.idempotency()
	ctx := t.Context()
	a, b, c := claimOf("k", "a"), claimOf("k", "b"), claimOf("k", "c")
	f.wantBegin(store, a, "started")
	f.wantBegin(store, a, "started") // again, after a reply that was lost
	f.wantBegin(store, b, "busy")
	other := b
	other.Fingerprint = "f1"
	f.wantBegin(store, other, "mismatch")
	f.check(store.Abort(ctx, b)) // not b's to drop
	f.wantBegin(store, b, "busy")
	f.check(store.Abort(ctx, a))
	f.wantBegin(store, b, "started")
	if err := store.Done(ctx, a, nil); !errors.Is(err, transport.ErrClaimLost) {
		t.Errorf("a marked b's claim as done: %v", err)
	}
	f.check(f.client.PExpire(ctx, "idempotency:k", 0).Err()) // b's lease runs out
	produced := "two\x00 words\n"
	f.check(store.Done(ctx, b, []byte(produced)))
	f.check(store.Done(ctx, b, []byte("something else"))) // again, after a reply that was lost
	if err := store.Done(ctx, a, nil); !errors.Is(err, transport.ErrClaimDone) {
		t.Errorf("a marked what b had done: %v", err)
	}
	f.wantBegin(store, a, "done"+produced)
	f.wantBegin(store, other, "mismatch")
	f.check(store.Abort(ctx, b)) // too late
	f.wantBegin(store, c, "done"+produced)
	if ttl := f.client.PTTL(ctx, "idempotency:k").Val(); ttl <= 0 || ttl > time.Hour {
		t.Errorf("the mark is kept for %v", ttl)
	}
}

func TestAClaimIsTakenOverByTheNextAttemptOfItsDelivery(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	store := f.idempotency()
	attempt := func(token, holder string, n int) transport.Claim {
		c := claimOf("k", token)
		c.Holder, c.Attempt = holder, n
		return c
	}
	f.wantBegin(store, attempt("a", "group/topic/1-0", 1), "started")
	f.wantBegin(store, attempt("duplicate", "group/topic/2-0", 2), "busy")
	f.wantBegin(store, attempt("b", "group/topic/1-0", 2), "started")
	f.wantBegin(store, attempt("a", "group/topic/1-0", 1), "busy") // it was only slow
	f.wantBegin(store, attempt("c", "group/topic/1-0", 2), "started")
}

func TestManyClaimsOfOneCallAreIndependent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	store := f.idempotency()
	f.check(store.Done(t.Context(), claimOf("2", "a"), []byte("p")))
	f.wantBegin(store, claimOf("3", "a"), "started")
	var claims []transport.Claim
	for i := range 300 {
		claims = append(claims, claimOf(fmt.Sprint(i), "b"))
	}
	results, err := store.Begin(t.Context(), claims...)
	f.check(err)
	for i, r := range results {
		want := map[int]transport.ClaimState{2: transport.ClaimMarked, 3: transport.ClaimBusy}[i]
		if want == 0 {
			want = transport.ClaimStarted
		}
		if r.State != want {
			t.Errorf("claim %d: %s", i, stateNames[r.State])
		}
	}
	f.check(f.client.LPush(t.Context(), "idempotency:list", "x").Err())
	f.check(f.client.Set(t.Context(), "idempotency:text", "x", 0).Err())
	for _, key := range []string{"list", "text"} {
		if _, err := store.Begin(t.Context(), claimOf(key, "a")); err == nil {
			t.Errorf("a claim of a key that holds something else")
		}
	}
}

func TestClaimsOfConcurrentHandlersShareRoundTrips(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	store := f.idempotency()
	f.check(f.client.ScriptFlush(t.Context()).Err()) // the server need not know the scripts
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			c := claimOf(fmt.Sprint(i), "a")
			results, err := store.Begin(t.Context(), c)
			if err != nil || results[0].State != transport.ClaimStarted {
				t.Errorf("claim %d: %v, %v", i, results, err)
			}
			if err := store.Done(t.Context(), c, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := f.client.DBSize(t.Context()).Val(); n != 200 {
		t.Errorf("%d marks", n)
	}
}

// In the bubble of synctest the clock is decades behind, as that of a process may be:
// what lasts for how long is the server's to say.
func TestClaimsOfAProcessWhoseClockIsWrong(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	here, addr := f.idempotency(), f.client.Options().Addr
	there := func(do func(context.Context, *redis.IdempotencyStore) error) {
		synctest.Test(t, func(t *testing.T) {
			if skew := time.Since(time.Unix(1_700_000_000, 0)); skew > 0 {
				t.Fatalf("the clock is right, or ahead by %v", skew)
			}
			client := goredis.NewClient(&goredis.Options{Addr: addr})
			store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: client})
			if err == nil {
				err = do(context.Background(), store)
			}
			if err := errors.Join(err, client.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	there(func(ctx context.Context, store *redis.IdempotencyStore) error {
		_, err := store.Begin(ctx, claimOf("k", "a"))
		return err
	})
	f.wantBegin(here, claimOf("k", "b"), "busy")
	if ttl := f.client.PTTL(t.Context(), "idempotency:k").Val(); ttl < 50*time.Minute || ttl > time.Hour {
		t.Errorf("the claim lasts for %v", ttl)
	}
	there(func(ctx context.Context, store *redis.IdempotencyStore) error {
		return store.Done(ctx, claimOf("k", "a"), nil)
	})
	f.wantBegin(here, claimOf("k", "b"), "done")
}
