package middleware_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
)

// producer returns messages, counts its runs and gives them ids by run.
type producer struct {
	runs    int
	payload string
}

func (p *producer) handle(msg *message.Message) ([]*message.Message, error) {
	p.runs++
	out := message.NewMessage(msg.UUID+strings.Repeat("'", p.runs), []byte(p.payload))
	out.Metadata["key"] = "value"
	return []*message.Message{out}, nil
}

func TestADuplicateReturnsWhatTheHandlerProduced(t *testing.T) {
	p := &producer{payload: "\x00binary\xff"}
	chain := idempotency(t, middleware.IdempotencyConfig{Store: memoryStore(t, 0)})(p.handle)
	for range 3 {
		out, err := chain(newMessage("1"))
		must(t, err)
		if len(out) != 1 || out[0].UUID != "1'" || string(out[0].Payload) != p.payload || out[0].Metadata["key"] != "value" {
			t.Fatalf("got %v", out)
		}
	}
	if p.runs != 1 {
		t.Errorf("the handler ran %d times", p.runs)
	}
}

func TestProducedMessagesOverTheLimitArePublishedAndNotMarked(t *testing.T) {
	p := &producer{payload: strings.Repeat("x", 200)}
	store := memoryStore(t, 0)
	chain := idempotency(t, middleware.IdempotencyConfig{Store: store, MaxProduced: 100})(p.handle)
	for run := range 2 {
		out, err := chain(newMessage("1"))
		must(t, err)
		if len(out) != 1 || p.runs != run+1 {
			t.Errorf("run %d: got %v after %d runs: nothing may be lost", run, out, p.runs)
		}
	}
	if store.Len() != 0 {
		t.Error("the claim is still there")
	}
}

func TestTheSameKeyWithAnotherPayloadIsAnError(t *testing.T) {
	store := memoryStore(t, 0)
	mw := idempotency(t, middleware.IdempotencyConfig{Store: store})
	mismatch := func(name string, msg *message.Message) {
		t.Helper()
		h := &handler{}
		if _, err := mw(h.handle)(msg); !errors.Is(err, middleware.ErrPayloadMismatch) || !events.IsPermanent(err) || h.runs != 0 {
			t.Errorf("%s: got %v after %d runs", name, err, h.runs)
		}
	}
	other := func(id string) *message.Message {
		msg := newMessage(id)
		msg.Payload = []byte(`{"n":2}`)
		return msg
	}
	_, err := mw(func(*message.Message) ([]*message.Message, error) {
		mismatch("while it is handled", other("1"))
		return nil, nil
	})(newMessage("1"))
	must(t, err)
	mismatch("once it is done", other("1"))

	// The header's hash counts: it stays as it is when the body is upcast.
	upcast, again := other("2"), newMessage("2")
	upcast.Metadata[events.MetadataHash] = events.Hash(again.Payload)
	h := &handler{}
	for _, msg := range []*message.Message{upcast, again} {
		_, err := mw(h.handle)(msg)
		must(t, err)
	}
	if h.runs != 1 {
		t.Errorf("%d runs", h.runs)
	}
	again.Metadata[events.MetadataHash] = "not a hash, with spaces"
	_, err = mw(h.handle)(again)
	must(t, err)
}

func TestIdempotencyOfAHandlerThatReturnsNil(t *testing.T) {
	store := memoryStore(t, 0)
	_, err := idempotency(t, middleware.IdempotencyConfig{Store: store})(func(*message.Message) ([]*message.Message, error) {
		return []*message.Message{nil}, nil
	})(newMessage("1"))
	if err == nil || store.Len() != 0 {
		t.Errorf("got %v, %d claims are left", err, store.Len())
	}
}

// A run that took longer than its claim lasted, while another one has done the work:
// what it has produced is dropped, because the other run's is published.
func TestALateRunPublishesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mw := idempotency(t, middleware.IdempotencyConfig{Store: memoryStore(t, 0), Lease: time.Minute})
		p := &producer{}
		out, err := mw(func(msg *message.Message) ([]*message.Message, error) {
			<-time.After(time.Minute)
			first, err := mw(p.handle)(newMessage("1"))
			if len(first) != 1 {
				t.Errorf("the other run: %v, %v", first, err)
			}
			return p.handle(msg)
		})(newMessage("1"))
		if err != nil || len(out) != 0 {
			t.Errorf("got %v, %v", out, err)
		}
	})
}

func TestAStoreThatAnswersShortHasFailed(t *testing.T) {
	h := &handler{}
	if _, err := idempotency(t, middleware.IdempotencyConfig{Store: shortStore{memoryStore(t, 0)}})(h.handle)(newMessage("1")); err == nil || h.runs != 0 {
		t.Errorf("got %v after %d runs", err, h.runs)
	}
}

type shortStore struct{ middleware.IdempotencyStore }

func (shortStore) Begin(context.Context, ...transport.Claim) ([]transport.ClaimResult, error) {
	return nil, nil
}
