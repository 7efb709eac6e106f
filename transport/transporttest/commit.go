package transporttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// ClaimStore is what middleware.IdempotencyStore is.
type ClaimStore interface {
	transport.ClaimStore
	Begin(ctx context.Context, claims ...transport.Claim) ([]transport.ClaimResult, error)
}

// claimed receives n deliveries as one lot whose handler publishes to out, each of
// them holding a claim that is done.
func (e *env) claimed(r transport.Receiver, store ClaimStore, n int, out string) []*transport.Delivery {
	e.t.Helper()
	got := e.receive(r, n)
	transport.NewLot(&transport.Route{Publisher: e.pub, Topic: out}, got)
	for _, d := range got {
		c := e.claim(d, "token "+d.Message.UUID)
		if !d.Concludes(store, c.Key) || !d.Publishes() {
			e.t.Fatalf("the delivery cannot be settled together with its claim (%v) and what was produced (%v)", d.Concludes(store, c.Key), d.Publishes())
		}
		e.wantClaim(store, c, transport.ClaimStarted)
		d.HoldClaim(&transport.Held{Claim: &c, Store: store, Done: true})
	}
	return got
}

// out is a topic to publish to, in the slot of the test's own where there are slots.
func (e *env) out() string { return transport.HashTag(e.topic) + "-out" }

// claim is a claim of the event of a delivery.
func (e *env) claim(d *transport.Delivery, token string) transport.Claim {
	return transport.Claim{
		Key: transport.HashTag(e.topic) + ":" + d.Message.UUID, Token: fmt.Sprintf("%x", token), Fingerprint: "f0",
		Holder: d.Holder(), Attempt: d.Attempt, Lease: time.Minute, Keep: time.Hour,
	}
}

func (e *env) wantClaim(store ClaimStore, c transport.Claim, want transport.ClaimState) {
	e.t.Helper()
	results, err := store.Begin(e.context(), c)
	e.check(err)
	if len(results) != 1 || results[0].State != want {
		e.t.Fatalf("claim of %s: got %v, want state %d", c.Key, results, want)
	}
}

// stranger is a claim of the same event, of which nothing else is known.
func (e *env) stranger(d *transport.Delivery) transport.Claim {
	c := e.claim(d, "stranger")
	c.Holder, c.Attempt = "", 0
	return c
}

func (e *env) with(d *transport.Delivery, out string, ids ...string) transport.Outcome {
	o := d.Ack()
	o.Produced = &transport.Produced{Publisher: e.pub, Topic: out}
	for _, id := range ids {
		msg := message.NewMessage(id, []byte("of "+d.Message.UUID))
		msg.Metadata["key"] = "value"
		o.Produced.Messages = append(o.Produced.Messages, msg)
	}
	return o
}

// wantProduced makes sure of what is in a topic, in order.
func (e *env) wantProduced(out string, ids ...string) {
	e.t.Helper()
	source, err := e.source("witness").Receiver(out)
	e.check(err)
	for i, d := range e.receive(source, len(ids)) {
		if d.Message.UUID != ids[i] || d.Message.Metadata["key"] != "value" {
			e.t.Errorf("produced %d: %s, want %s", i, d.Message.UUID, ids[i])
		}
		e.settle(source, d.Ack())
	}
	e.nothing(source, 50*time.Millisecond)
	e.check(source.Close())
}

func ackCommitsMarkAndProduced(_ *testing.T, e *env) {
	e.publish(3)
	r, store, out := e.receiver("g"), e.claims(), e.out()
	got := e.claimed(r, store, 3, out)
	e.settle(r, e.with(got[0], out, "a", "b"), got[1].Ack(), e.with(got[2], out, "c"))
	e.settle(r, e.with(got[0], out, "again"))
	for _, d := range got {
		e.wantClaim(store, e.stranger(d), transport.ClaimMarked)
	}
	e.wantProduced(out, "a", "b", "c")
	e.nothing(r, 2*e.Lease)
}

// claimBeyondDoubtIsConcluded has claims of which it is known that nobody else holds them.
func claimBeyondDoubtIsConcluded(_ *testing.T, e *env) {
	e.publish(4)
	r, store, begun := e.receiver("g"), e.claims(), time.Now()
	got := e.claimed(r, store, 4, e.out())
	for _, d := range got {
		sure := *d.HeldClaim()
		sure.Since = begun
		d.HoldClaim(&sure)
	}
	e.settle(r, got[0].Ack(), e.with(got[1], e.out(), "a"), got[2].Retry(time.Hour, errBroken), got[3].Ack())
	e.settle(r, got[0].Ack())
	for i, want := range []transport.ClaimState{transport.ClaimMarked, transport.ClaimMarked, transport.ClaimStarted, transport.ClaimMarked} {
		e.wantClaim(store, e.stranger(got[i]), want)
	}
	e.wantProduced(e.out(), "a")
	e.nothing(r, 2*e.Lease)
}

func lostClaimCommitsNothing(t *testing.T, e *env) {
	e.publish(2)
	r, store, out := e.receiver("g"), e.claims(), e.out()
	got := e.claimed(r, store, 2, out)
	e.check(store.Abort(e.context(), *got[0].HeldClaim().Claim)) // as if it had expired
	e.wantClaim(store, e.stranger(got[0]), transport.ClaimStarted)
	err := r.Settle(e.context(), e.with(got[0], out, "lost"), e.with(got[1], out, "kept"))
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok || len(failed.Unsettled) != 1 || failed.Unsettled[0].Outcome.Delivery != got[0] || !errors.Is(err, transport.ErrClaimLost) {
		t.Fatalf("got %v, want the one that has lost its claim", err)
	}
	again := e.receive(r, 1)[0] // It comes again, and is still claimed.
	e.wantClaim(store, e.claim(again, "again"), transport.ClaimBusy)
	e.settle(r, again.Ack())
	e.wantProduced(out, "kept")
}

func markOfAnotherRunOnlyAcks(_ *testing.T, e *env) {
	e.publish(1)
	r, store, out := e.receiver("g"), e.claims(), e.out()
	d := e.claimed(r, store, 1, out)[0]
	e.check(store.Abort(e.context(), *d.HeldClaim().Claim))
	e.check(store.Done(e.context(), e.stranger(d), nil))
	e.settle(r, e.with(d, out, "twice"))
	e.wantProduced(out)
	e.nothing(r, 2*e.Lease)
}

func otherSettlementsDropTheClaim(_ *testing.T, e *env) {
	e.publish(4)
	r, store := e.receiver("g"), e.claims()
	got := e.claimed(r, store, 4, e.out())
	undone := *got[3].HeldClaim()
	undone.Done = false
	got[3].HoldClaim(&undone)
	e.settle(r, got[0].Retry(time.Hour, errBroken), got[1].DeadLetter(errBroken), got[2].Retry(time.Hour, errBroken), got[3].Ack())
	for _, d := range got {
		e.wantClaim(store, e.stranger(d), transport.ClaimStarted)
	}
}

func nextDeliveryTakesTheClaimOver(t *testing.T, e *env) {
	if e.Crash == nil {
		t.Skip("the harness cannot crash a receiver")
	}
	e.publish(1)
	crashed, store := e.receiver("g"), e.claims()
	first := e.claimed(crashed, store, 1, e.out())[0]
	other := e.receiver("other")
	elsewhere := e.receive(other, 1)[0]
	if elsewhere.Holder() == first.Holder() {
		t.Errorf("deliveries of two groups have one name: %q", first.Holder())
	}
	e.settle(other, elsewhere.Ack())
	e.Crash(t, crashed)
	heir := e.receiver("g")
	second := e.receive(heir, 1)[0]
	if second.Holder() != first.Holder() {
		t.Errorf("the same delivery is called %q and %q", first.Holder(), second.Holder())
	}
	e.wantClaim(store, e.claim(second, "second"), transport.ClaimStarted)
	e.wantClaim(store, *first.HeldClaim().Claim, transport.ClaimBusy)
	e.settle(heir, second.Ack())
}

// claims makes a store, or leaves the test out.
func (e *env) claims() ClaimStore {
	if e.Claims == nil {
		e.t.Skip("the harness names no store of claims")
	}
	return e.Claims(e.t)
}
