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
)

func begin(t *testing.T, s middleware.IdempotencyStore, key, token string) string {
	t.Helper()
	started, done, err := s.Begin(t.Context(), key, token, time.Minute)
	switch {
	case err != nil:
		return err.Error()
	case started && done:
		return "both"
	case started:
		return "started"
	case done:
		return "done"
	}
	return "busy"
}

func wantBegin(t *testing.T, s middleware.IdempotencyStore, key, token, want string) {
	t.Helper()
	if got := begin(t, s, key, token); got != want {
		t.Errorf("begin %s by %s: %s, want %s", key, token, got, want)
	}
}

func TestMemoryStoreKeepsTheRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), memoryStore(t, 0)
		wantBegin(t, s, "k", "a", "started")
		wantBegin(t, s, "k", "b", "busy")
		must(t, s.Abort(ctx, "k", "b")) // not b's to drop
		wantBegin(t, s, "k", "b", "busy")
		<-time.After(59 * time.Second)
		wantBegin(t, s, "k", "a", "started") // renewed
		<-time.After(59 * time.Second)
		wantBegin(t, s, "k", "b", "busy")
		<-time.After(time.Second)
		wantBegin(t, s, "k", "b", "started") // expired
		if err := s.Done(ctx, "k", "a", time.Hour); !errors.Is(err, middleware.ErrClaimLost) {
			t.Errorf("done by the former holder: %v", err)
		}
		must(t, s.Done(ctx, "k", "b", time.Hour))
		must(t, s.Done(ctx, "k", "b", time.Hour)) // may be repeated
		wantBegin(t, s, "k", "a", "done")
		must(t, s.Abort(ctx, "k", "b")) // drops no mark
		must(t, s.Abort(ctx, "k", ""))
		wantBegin(t, s, "k", "a", "done")
		<-time.After(time.Hour)
		wantBegin(t, s, "k", "a", "started") // forgotten
		<-time.After(time.Minute)
		must(t, s.Done(ctx, "k", "a", time.Hour)) // expired, but nobody else's
		wantBegin(t, s, "k", "c", "done")

		ended, cancel := context.WithCancel(ctx)
		cancel()
		if _, _, err := s.Begin(ended, "other", "a", time.Minute); !errors.Is(err, context.Canceled) {
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
			must(t, s.Done(ctx, k, "a", time.Hour))
		}
		if s.Len() != 3 {
			t.Errorf("%d keys", s.Len())
		}
		wantBegin(t, s, "2", "b", "done")
		wantBegin(t, s, "held", "b", "busy")
		wantBegin(t, s, "1", "b", "started")
		wantBegin(t, s, "4", "b", "started")
		if _, _, err := s.Begin(ctx, "5", "b", time.Minute); !errors.Is(err, middleware.ErrStoreFull) {
			t.Errorf("full of claims: %v", err)
		}
		must(t, s.Done(ctx, "held", "a", time.Hour)) // needs no room
		wantBegin(t, s, "5", "b", "started")
		<-time.After(time.Minute)
		wantBegin(t, s, "6", "b", "started") // in place of an expired claim
	})
}

func TestMemoryStoreForgetsNoMarkWhileSomethingHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), memoryStore(t, 4)
		must(t, s.Done(ctx, "mark", "a", time.Hour)) // the oldest
		wantBegin(t, s, "claim", "a", "started")     // for a minute
		_, _, err := s.Begin(ctx, "short claim", "a", time.Second)
		must(t, err)
		must(t, s.Done(ctx, "short mark", "a", time.Second))
		<-time.After(time.Second)
		for _, key := range []string{"1", "2"} {
			wantBegin(t, s, key, "a", "started")
		}
		wantBegin(t, s, "mark", "b", "done")
		wantBegin(t, s, "claim", "b", "busy")
		wantBegin(t, s, "3", "a", "started") // nothing has expired: in place of the mark
		if _, _, err := s.Begin(ctx, "mark", "b", time.Minute); !errors.Is(err, middleware.ErrStoreFull) || s.Len() != 4 {
			t.Errorf("%d keys: %v", s.Len(), err)
		}
	})
}

func TestMemoryStoreShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, s := t.Context(), memoryStore(t, 0)
		for i := range 100 {
			must(t, s.Done(ctx, fmt.Sprint(i), "a", time.Hour))
		}
		<-time.After(time.Hour)
		for i := range 50 {
			must(t, s.Done(ctx, fmt.Sprint("new ", i), "a", time.Hour))
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
			if begin(t, s, "k", fmt.Sprint(i)) == "started" {
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
