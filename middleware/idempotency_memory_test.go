package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
)

// claimOf is a claim for a minute, to be kept for an hour.
func claimOf(key, token string) transport.Claim {
	return transport.Claim{Key: key, Token: token, Lease: time.Minute, Keep: time.Hour}
}

func begin(t *testing.T, s middleware.IdempotencyStore, c transport.Claim) string {
	t.Helper()
	results, err := s.Begin(t.Context(), c)
	if err != nil {
		return err.Error()
	}
	return stateNames[results[0].State] + string(results[0].Produced)
}

var stateNames = map[transport.ClaimState]string{
	transport.ClaimStarted: "started", transport.ClaimBusy: "busy", transport.ClaimMarked: "done", transport.ClaimMismatch: "mismatch",
}

func wantBegin(t *testing.T, s middleware.IdempotencyStore, key, token, want string) {
	t.Helper()
	if got := begin(t, s, claimOf(key, token)); got != want {
		t.Errorf("begin %s by %s: %s, want %s", key, token, got, want)
	}
}

func TestMemoryStoreKeepsTheRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), memoryStore(t, 0)
		wantBegin(t, s, "k", "a", "started")
		wantBegin(t, s, "k", "b", "busy")
		must(t, s.Abort(ctx, claimOf("k", "b"))) // not b's to drop
		wantBegin(t, s, "k", "b", "busy")
		<-time.After(59 * time.Second)
		wantBegin(t, s, "k", "a", "started") // renewed
		<-time.After(59 * time.Second)
		wantBegin(t, s, "k", "b", "busy")
		<-time.After(time.Second)
		wantBegin(t, s, "k", "b", "started") // expired
		if err := s.Done(ctx, claimOf("k", "a"), nil); !errors.Is(err, middleware.ErrClaimLost) {
			t.Errorf("done by the former holder: %v", err)
		}
		must(t, s.Done(ctx, claimOf("k", "b"), nil))
		must(t, s.Done(ctx, claimOf("k", "b"), nil)) // may be repeated
		wantBegin(t, s, "k", "a", "done")
		must(t, s.Abort(ctx, claimOf("k", "b"))) // drops no mark
		must(t, s.Abort(ctx, claimOf("k", "")))
		wantBegin(t, s, "k", "a", "done")
		<-time.After(time.Hour)
		wantBegin(t, s, "k", "a", "started") // forgotten
		<-time.After(time.Minute)
		must(t, s.Done(ctx, claimOf("k", "a"), nil)) // expired, but nobody else's
		wantBegin(t, s, "k", "c", "done")

		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := s.Begin(ended, claimOf("other", "a")); !errors.Is(err, context.Canceled) {
			t.Errorf("begin with an ended context: %v", err)
		}
	})
}

func TestMemoryStoreForgetsTheOldestMarkButNoClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), memoryStore(t, 3)
		wantBegin(t, s, "held", "a", "started")
		for _, k := range []string{"1", "2", "3"} {
			wantBegin(t, s, k, "a", "started")
			must(t, s.Done(ctx, claimOf(k, "a"), nil))
		}
		if s.Len() != 3 {
			t.Errorf("%d keys", s.Len())
		}
		wantBegin(t, s, "2", "b", "done")
		wantBegin(t, s, "held", "b", "busy")
		wantBegin(t, s, "1", "b", "started")
		wantBegin(t, s, "4", "b", "started")
		if _, err := s.Begin(ctx, claimOf("5", "b")); !errors.Is(err, middleware.ErrStoreFull) {
			t.Errorf("full of claims: %v", err)
		}
		must(t, s.Done(ctx, claimOf("held", "a"), nil)) // needs no room
		wantBegin(t, s, "5", "b", "started")
		<-time.After(time.Minute)
		wantBegin(t, s, "6", "b", "started") // in place of an expired claim
	})
}

func TestMemoryStoreForgetsNoMarkWhileSomethingHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), memoryStore(t, 4)
		must(t, s.Done(ctx, claimOf("mark", "a"), nil)) // the oldest
		wantBegin(t, s, "claim", "a", "started")        // for a minute
		short := transport.Claim{Key: "short claim", Token: "a", Lease: time.Second, Keep: time.Second}
		_, err := s.Begin(ctx, short)
		must(t, err)
		short.Key = "short mark"
		must(t, s.Done(ctx, short, nil))
		<-time.After(time.Second)
		for _, key := range []string{"1", "2"} {
			wantBegin(t, s, key, "a", "started")
		}
		wantBegin(t, s, "mark", "b", "done")
		wantBegin(t, s, "claim", "b", "busy")
		wantBegin(t, s, "3", "a", "started") // nothing has expired: in place of the mark
		if _, err := s.Begin(ctx, claimOf("mark", "b")); !errors.Is(err, middleware.ErrStoreFull) || s.Len() != 4 {
			t.Errorf("%d keys: %v", s.Len(), err)
		}
	})
}

func TestMemoryStoreShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), memoryStore(t, 0)
		for i := range 100 {
			must(t, s.Done(ctx, claimOf(fmt.Sprint(i), "a"), nil))
		}
		<-time.After(time.Hour)
		for i := range 50 {
			must(t, s.Done(ctx, claimOf(fmt.Sprint("new ", i), "a"), nil))
		}
		if s.Len() != 50 {
			t.Errorf("%d keys, want the 50 that have not expired", s.Len())
		}
	})
}

func TestMemoryStoreGivesOneClaimToMany(t *testing.T) {
	s := memoryStore(t, 0)
	var mu sync.Mutex
	var wg sync.WaitGroup
	started := 0
	for i := range 50 {
		wg.Go(func() {
			if begin(t, s, claimOf("k", fmt.Sprint(i))) == "started" {
				mu.Lock()
				started++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if started != 1 {
		t.Errorf("%d started", started)
	}
}
