package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// claimCall is one call of a store about one key, claimAnswer what it said.
type claimCall struct {
	name     string // begin, done, abort
	claim    transport.Claim
	produced string
}

type claimAnswer struct {
	state    transport.ClaimState
	produced string
	failed   error
}

// claimEntry is what a store has of a key; the zero value is nothing.
type claimEntry struct {
	marked        bool
	token, print  string
	holder        string
	attempt       int
	produced      string
	claimedOrMore bool
}

// claimModel is what middleware.IdempotencyStore says, for one client at a time.
var claimModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) (parts [][]porcupine.Operation) {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range history {
			key := op.Input.(claimCall).claim.Key
			byKey[key] = append(byKey[key], op)
		}
		for _, part := range byKey {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return claimEntry{} },
	Step: func(state, input, output any) (bool, any) {
		call, answer := input.(claimCall), output.(claimAnswer)
		next, want := state.(claimEntry).apply(call)
		return want.state == answer.state && want.produced == answer.produced && errors.Is(answer.failed, want.failed), next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

func (e claimEntry) apply(call claimCall) (claimEntry, claimAnswer) {
	c := call.claim
	ours := e.claimedOrMore && e.token == c.Token
	switch call.name {
	case "begin":
		claimed := claimEntry{false, c.Token, c.Fingerprint, c.Holder, c.Attempt, "", true}
		switch {
		case !e.claimedOrMore, ours && !e.marked:
			return claimed, claimAnswer{state: transport.ClaimStarted}
		case e.print != c.Fingerprint:
			return e, claimAnswer{state: transport.ClaimMismatch}
		case e.marked:
			return e, claimAnswer{state: transport.ClaimMarked, produced: e.produced}
		case c.Holder != "" && c.Holder == e.holder && c.Attempt >= e.attempt:
			return claimed, claimAnswer{state: transport.ClaimStarted}
		}
		return e, claimAnswer{state: transport.ClaimBusy}
	case "done":
		switch {
		case e.marked && !ours:
			return e, claimAnswer{failed: transport.ErrClaimDone}
		case e.claimedOrMore && !ours:
			return e, claimAnswer{failed: transport.ErrClaimLost}
		case e.marked:
			return e, claimAnswer{}
		}
		return claimEntry{true, c.Token, c.Fingerprint, "", 0, call.produced, true}, claimAnswer{}
	}
	if ours && !e.marked {
		return claimEntry{}, claimAnswer{}
	}
	return e, claimAnswer{}
}

// recordClaims calls stores, which share what they store, from many goroutines.
func recordClaims(t *testing.T, seed uint64, stores []middleware.IdempotencyStore) []porcupine.Operation {
	t.Helper()
	const clients, calls, keys = 8, 60, 6
	var mu sync.Mutex
	var wg sync.WaitGroup
	var history []porcupine.Operation
	begun := time.Now()
	for client := range clients {
		store, rnd := stores[client%len(stores)], rand.New(rand.NewPCG(seed, uint64(client)))
		wg.Go(func() {
			for n := range calls {
				call := claimCall{name: []string{"begin", "begin", "begin", "done", "abort", "abort"}[rnd.IntN(6)], produced: fmt.Sprint(client, "-", n)}
				batch := 1
				if call.name == "begin" {
					batch += rnd.IntN(keys)
				}
				first := rnd.IntN(keys)
				claims := make([]transport.Claim, batch)
				for i := range claims {
					claims[i] = runOf(rnd.IntN(clients))
					claims[i].Key = fmt.Sprint("key-", (first+i)%keys, "-", n/20)
				}
				call.claim = claims[0]
				from := time.Since(begun).Nanoseconds()
				answers, err := answer(t.Context(), store, call, claims)
				to := time.Since(begun).Nanoseconds()
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for i, a := range answers {
					call.claim = claims[i]
					history = append(history, porcupine.Operation{ClientId: client*keys + i, Input: call, Call: from, Output: a, Return: to})
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return history
}

// runOf is the claim of a run: some are of one delivery, and one is of another payload.
func runOf(n int) transport.Claim {
	c := transport.Claim{Token: fmt.Sprint("t", n), Fingerprint: "f0", Lease: time.Hour, Keep: time.Hour}
	switch {
	case n == 0:
		c.Fingerprint = "f1"
	case n < 6:
		c.Holder, c.Attempt = fmt.Sprint("h", n%2), 1+n/2
	}
	return c
}

func answer(ctx context.Context, store middleware.IdempotencyStore, call claimCall, claims []transport.Claim) (answers []claimAnswer, err error) {
	switch call.name {
	case "begin":
		results, err := store.Begin(ctx, claims...)
		for _, r := range results {
			answers = append(answers, claimAnswer{state: r.State, produced: string(r.Produced)})
		}
		return answers, err
	case "done":
		err = store.Done(ctx, call.claim, []byte(call.produced))
	default:
		err = store.Abort(ctx, call.claim)
	}
	if err != nil && !errors.Is(err, transport.ErrClaimDone) && !errors.Is(err, transport.ErrClaimLost) {
		return nil, err
	}
	return []claimAnswer{{failed: err}}, nil
}

func TestStoresOfClaimsAreLinearizable(t *testing.T) {
	server := redisserver.New(t)
	for name, stores := range map[string]func(t *testing.T) []middleware.IdempotencyStore{
		"memory": func(t *testing.T) []middleware.IdempotencyStore {
			s, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{})
			must(t, err)
			return []middleware.IdempotencyStore{s}
		},
		"redis": func(t *testing.T) (all []middleware.IdempotencyStore) {
			for range 3 { // as processes have
				client := goredis.NewClient(&goredis.Options{Addr: server.Addr})
				t.Cleanup(func() { must(t, client.Close()) })
				s, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: client})
				must(t, err)
				all = append(all, s)
			}
			return all
		},
	} {
		t.Run(name, func(t *testing.T) {
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			history := recordClaims(t, seed, stores(t))
			switch porcupine.CheckOperationsTimeout(claimModel, history, time.Minute) {
			case porcupine.Illegal:
				t.Errorf("what %d calls were told has no order in which one store could say it", len(history))
			case porcupine.Unknown:
				t.Errorf("%d calls: not decided within a minute", len(history))
			default:
				t.Logf("%d calls", len(history))
			}
		})
	}
}

// A store that forgets to look at who holds a claim is found out.
func TestAStoreThatIsNotLinearizableIsFound(t *testing.T) {
	s, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{})
	must(t, err)
	history := recordClaims(t, 1, []middleware.IdempotencyStore{generous{s}})
	if porcupine.CheckOperations(claimModel, history) {
		t.Error("a store that gives one claim to two was taken for a good one")
	}
}

type generous struct {
	*middleware.MemoryIdempotencyStore
}

func (g generous) Begin(ctx context.Context, claims ...transport.Claim) ([]transport.ClaimResult, error) {
	results, err := g.MemoryIdempotencyStore.Begin(ctx, claims...)
	for i := range results {
		if results[i].State == transport.ClaimBusy {
			results[i].State = transport.ClaimStarted
		}
	}
	return results, err
}
