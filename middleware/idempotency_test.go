package middleware_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
)

func memoryStore(t *testing.T, maxKeys int) *middleware.MemoryIdempotencyStore {
	t.Helper()
	s, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{MaxKeys: maxKeys})
	must(t, err)
	return s
}

func idempotency(t *testing.T, cfg middleware.IdempotencyConfig) message.HandlerMiddleware {
	t.Helper()
	if cfg.Scope == "" {
		cfg.Scope = "group"
	}
	cfg.Logger = silent
	mw, err := middleware.Idempotency(cfg)
	must(t, err)
	return mw
}

func TestP1_FailedHandlerRunsAgainOnRedelivery(t *testing.T) {
	for name, fail := range map[string]error{"error": errBoom, "permanent": events.Permanent(errBoom), "discard": events.Discard(errBoom)} {
		t.Run(name, func(t *testing.T) {
			h := &handler{errs: []error{fail}}
			chain := idempotency(t, middleware.IdempotencyConfig{Store: memoryStore(t, 0)})(h.handle)
			if _, err := chain(newMessage("1")); !errors.Is(err, errBoom) {
				t.Fatalf("got %v", err)
			}
			for range 3 {
				if _, err := chain(newMessage("1")); err != nil {
					t.Fatal(err)
				}
			}
			if h.runs != 2 {
				t.Errorf("the handler ran %d times, want 2: the failed one and the next", h.runs)
			}
		})
	}
}

func TestIdempotencyDropsTheClaimWhenTheContextHasEnded(t *testing.T) {
	store := memoryStore(t, 0)
	mw := idempotency(t, middleware.IdempotencyConfig{Store: store})
	ctx, cancel := context.WithCancel(context.Background())
	msg := newMessage("1")
	msg.SetContext(ctx)
	if _, err := mw(func(*message.Message) ([]*message.Message, error) { cancel(); return nil, errBoom })(msg); !errors.Is(err, errBoom) {
		t.Fatalf("got %v", err)
	}
	if store.Len() != 0 {
		t.Error("the claim is still there")
	}
	ctx, cancel = context.WithCancel(context.Background())
	msg.SetContext(ctx)
	h := &handler{}
	if _, err := mw(func(*message.Message) ([]*message.Message, error) { cancel(); return nil, nil })(msg); err != nil {
		t.Fatal(err)
	}
	if _, err := mw(h.handle)(newMessage("1")); err != nil || h.runs != 0 {
		t.Errorf("the success of a handler whose context ended is forgotten: %v, %d runs", err, h.runs)
	}
}

func TestIdempotencyDropsTheClaimWhenTheHandlerPanics(t *testing.T) {
	mw := idempotency(t, middleware.IdempotencyConfig{Store: memoryStore(t, 0)})
	func() {
		defer func() {
			if recover() != "ouch" {
				t.Error("the panic did not pass")
			}
		}()
		_, _ = mw(func(*message.Message) ([]*message.Message, error) { panic("ouch") })(newMessage("1"))
	}()
	h := &handler{}
	if _, err := mw(h.handle)(newMessage("1")); err != nil || h.runs != 1 {
		t.Errorf("got %v after %d runs", err, h.runs)
	}
}

func TestIdempotencyLetsOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw := idempotency(t, middleware.IdempotencyConfig{Store: memoryStore(t, 0), Lease: 80 * time.Second})
		hold := make(chan struct{})
		ended := make(chan error)
		go func() {
			_, err := mw(func(*message.Message) ([]*message.Message, error) { <-hold; return nil, nil })(newMessage("1"))
			ended <- err
		}()
		synctest.Wait()
		h := &handler{}
		for attempt, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 1 << 30: 10 * time.Second} {
			_, err := mw(h.handle)(deliver(newMessage("1"), attempt, full))
			if after, ok := events.RetryDelay(err); !errors.Is(err, middleware.ErrInProgress) || !ok || after != want {
				t.Errorf("attempt %d: got %v after %v, want %v", attempt, err, after, want)
			}
		}
		_, err := mw(h.handle)(deliver(newMessage("1"), 9, transport.Capabilities{}))
		if after, _ := events.RetryDelay(err); after != time.Second {
			t.Errorf("uncounted delivery: comes back after %v", after)
		}
		<-time.After(80 * time.Second) // The lease is over: another may start.
		if _, err := mw(h.handle)(newMessage("1")); err != nil || h.runs != 1 {
			t.Errorf("got %v after %d runs", err, h.runs)
		}
		close(hold)
		if err := <-ended; err != nil {
			t.Errorf("done is done, whoever did it: %v", err)
		}
	})
}

func TestIdempotencyScopesAndKeys(t *testing.T) {
	store := memoryStore(t, 0)
	key := func(msg *message.Message) string { return msg.UUID }
	h := &handler{}
	for _, c := range [][2]string{{"a", "b:c"}, {"a:b", "c"}, {"a%3Ab", "c"}, {"b", "c"}} {
		if _, err := idempotency(t, middleware.IdempotencyConfig{Store: store, Scope: c[0], Key: key})(h.handle)(newMessage(c[1])); err != nil {
			t.Fatal(err)
		}
	}
	if h.runs != 4 {
		t.Errorf("4 different events, %d runs", h.runs)
	}
	a, b := newMessage("1"), newMessage("2")
	b.Metadata[events.MetadataHash] = events.Hash(a.Payload)
	if middleware.KeyByHash(a) != middleware.KeyByHash(b) {
		t.Error("equal bodies have different keys")
	}
	b.Metadata[events.MetadataType] = "user.deleted"
	if middleware.KeyByHash(a) == middleware.KeyByHash(b) {
		t.Error("different events have the same key")
	}
	for name, c := range map[string]struct {
		key  func(*message.Message) string
		want func(error) bool
	}{
		"none":  {func(*message.Message) string { return "" }, func(err error) bool { return errors.Is(err, middleware.ErrNoKey) && events.IsPermanent(err) }},
		"panic": {func(*message.Message) string { panic("ouch") }, func(err error) bool { _, ok := errors.AsType[*events.PanicError](err); return ok }},
	} {
		h := &handler{}
		if _, err := idempotency(t, middleware.IdempotencyConfig{Store: store, Key: c.key})(h.handle)(newMessage("9")); !c.want(err) || h.runs != 0 {
			t.Errorf("%s: got %v after %d runs", name, err, h.runs)
		}
	}
}

func TestIdempotencyRefuses(t *testing.T) {
	store := memoryStore(t, 0)
	for name, cfg := range map[string]middleware.IdempotencyConfig{
		"no store":   {Scope: "g"},
		"no scope":   {Store: store},
		"lease":      {Store: store, Scope: "g", Lease: -1},
		"keep":       {Store: store, Scope: "g", Keep: -1},
		"busy delay": {Store: store, Scope: "g", BusyDelay: -1},
		"produced":   {Store: store, Scope: "g", MaxProduced: -1},
	} {
		_, err := middleware.Idempotency(cfg)
		wantConfigError(t, name, err)
	}
	_, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{MaxKeys: -1})
	wantConfigError(t, "max keys", err)
}

func TestIdempotencyInWatermillsRouter(t *testing.T) {
	ran := make(chan *message.Message, 16)
	mw := idempotency(t, middleware.IdempotencyConfig{Store: memoryStore(t, 0)})
	var runs atomic.Int32
	h := func(msg *message.Message) ([]*message.Message, error) {
		if runs.Add(1) == 1 {
			return nil, errBoom
		}
		ran <- msg
		return nil, nil
	}
	ps := newPubSub(true)
	watermillRun(t, ps, h, []message.HandlerMiddleware{mw}, func() {
		<-(<-ran).Acked() // The router acks once the middleware has returned.
		must(t, ps.Publish("in", newMessage("1"), newMessage("1")))
		must(t, ps.Publish("in", newMessage("last")))
		if id := receive(t, ran).UUID; id != "last" {
			t.Errorf("%q was handled again", id)
		}
	}, newMessage("1"))
}
