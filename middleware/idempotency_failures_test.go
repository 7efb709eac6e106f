package middleware_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
)

// brokenStore fails in the methods named.
type brokenStore struct {
	middleware.IdempotencyStore
	fails string
	err   error
}

func (s brokenStore) Begin(ctx context.Context, claims ...transport.Claim) ([]transport.ClaimResult, error) {
	if strings.Contains(s.fails, "begin") {
		return nil, s.err
	}
	return s.IdempotencyStore.Begin(ctx, claims...)
}

func (s brokenStore) Done(ctx context.Context, c transport.Claim, produced []byte) error {
	if strings.Contains(s.fails, "done") {
		return s.err
	}
	return s.IdempotencyStore.Done(ctx, c, produced)
}

func (s brokenStore) Abort(ctx context.Context, c transport.Claim) error {
	if strings.Contains(s.fails, "abort") {
		return s.err
	}
	return s.IdempotencyStore.Abort(ctx, c)
}

func TestIdempotencyOnABrokenStore(t *testing.T) {
	down := errors.New("store is down")
	for name, c := range map[string]struct {
		fails   string
		store   error
		handler error
		runs    int
		want    func(error) bool
	}{
		"begin":               {"begin", down, nil, 0, func(err error) bool { return errors.Is(err, down) }},
		"begin, to discard":   {"begin", events.Discard(down), nil, 0, func(err error) bool { return err != nil && !events.IsDiscard(err) }},
		"done":                {"done", down, nil, 1, func(err error) bool { return errors.Is(err, down) }},
		"done, to discard":    {"done", events.Discard(down), nil, 1, func(err error) bool { return err != nil && !events.IsDiscard(err) }},
		"done and abort":      {"done abort", down, nil, 1, func(err error) bool { return errors.Is(err, down) }},
		"abort":               {"abort", down, errBoom, 1, func(err error) bool { return errors.Is(err, errBoom) && strings.Contains(err.Error(), "down") }},
		"abort, to discard":   {"abort", events.Discard(down), errBoom, 1, func(err error) bool { return errors.Is(err, errBoom) && !events.IsDiscard(err) }},
		"abort, of permanent": {"abort", events.Discard(down), events.Permanent(errBoom), 1, events.IsPermanent},
	} {
		store := brokenStore{memoryStore(t, 0), c.fails, c.store}
		h := &handler{errs: []error{c.handler}}
		if _, err := idempotency(t, middleware.IdempotencyConfig{Store: store})(h.handle)(newMessage("1")); !c.want(err) || h.runs != c.runs {
			t.Errorf("%s: got %v after %d runs, want %d", name, err, h.runs, c.runs)
		}
	}
	// A mark that could not be set does not block the next attempt.
	store := memoryStore(t, 0)
	h := &handler{}
	_, _ = idempotency(t, middleware.IdempotencyConfig{Store: brokenStore{store, "done", down}})(h.handle)(newMessage("1"))
	if _, err := idempotency(t, middleware.IdempotencyConfig{Store: store})(h.handle)(newMessage("1")); err != nil || h.runs != 2 {
		t.Errorf("got %v after %d runs", err, h.runs)
	}
}

// panickyStore panics in the methods named.
type panickyStore struct {
	middleware.IdempotencyStore
	panics string
}

func (s panickyStore) Begin(ctx context.Context, claims ...transport.Claim) ([]transport.ClaimResult, error) {
	results, err := s.IdempotencyStore.Begin(ctx, claims...)
	if strings.Contains(s.panics, "begin") {
		panic("ouch")
	}
	return results, err
}

func (s panickyStore) Done(ctx context.Context, c transport.Claim, produced []byte) error {
	if strings.Contains(s.panics, "done") {
		panic("ouch")
	}
	return s.IdempotencyStore.Done(ctx, c, produced)
}

func (s panickyStore) Abort(ctx context.Context, c transport.Claim) error {
	if strings.Contains(s.panics, "abort") {
		panic("ouch")
	}
	return s.IdempotencyStore.Abort(ctx, c)
}

func TestIdempotencyDropsTheClaimWhenTheStorePanics(t *testing.T) {
	for panics, c := range map[string]struct {
		handler error
		runs    int
		left    int // claims
	}{
		"begin":      {nil, 0, 0},
		"done":       {nil, 1, 0},
		"done abort": {nil, 1, 1},
		"abort":      {errBoom, 1, 1},
	} {
		store := memoryStore(t, 0)
		h := &handler{errs: []error{c.handler}}
		_, err := idempotency(t, middleware.IdempotencyConfig{Store: panickyStore{store, panics}})(h.handle)(newMessage("1"))
		if _, isPanic := errors.AsType[*events.PanicError](err); h.runs != c.runs || c.handler == nil && !isPanic || c.handler != nil && !errors.Is(err, c.handler) {
			t.Errorf("%s: got %v after %d runs", panics, err, h.runs)
		}
		if store.Len() != c.left {
			t.Errorf("%s: %d claims are left, want %d", panics, store.Len(), c.left)
		}
	}
}
