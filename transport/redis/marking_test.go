package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// sure receives n messages under claims that are done, and known to be ours.
func (f *fixture) sure(r transport.Receiver, n int) []*transport.Delivery {
	f.t.Helper()
	store, since := f.idempotency(), time.Now()
	got := f.receiveAll(r, n)
	transport.NewLot(&transport.Route{}, got)
	for _, d := range got {
		c := claimOf(d.Message.UUID, "a")
		f.wantBegin(f.idempotency(), c, "started")
		d.HoldClaim(&transport.Held{Claim: &c, Store: store, Done: true, Since: since})
	}
	return got
}

func (f *fixture) wantMarks(of []*transport.Delivery, want string) {
	f.t.Helper()
	for _, d := range of {
		f.wantBegin(f.idempotency(), claimOf(d.Message.UUID, "b"), want)
	}
}

func TestAcksUnderClaimsThatAreOursAreATransaction(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.check(f.pub.Publish("t", numbered(250)...))
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute, Prefetch: 250})
	got := f.sure(r, 250)
	f.do("CONFIG", "RESETSTAT")
	f.check(r.Settle(t.Context(), acks(got)...))
	if transactions, looks := f.calls("exec"), f.calls("get"); transactions != 3 || looks != 0 {
		t.Errorf("%d transactions, and a look at %d claims", transactions, looks)
	}
	if n := f.pending(); n != 0 {
		t.Errorf("%d are pending", n)
	}
	f.wantMarks(got, "done")
	if ttl := f.client.PTTL(t.Context(), "idempotency:"+got[0].Message.UUID).Val(); ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("a mark is kept for %v", ttl)
	}
}

// A connection is cut at every command of the transaction, in every way.
func TestP9_AMarkAndItsAckAreOneStepWhereverTheirConnectionIsCut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, cut := range cuts {
		for k, at := range []string{"multi", "set", "xack", "exec"} {
			for _, crash := range []bool{true, false} {
				f.check(f.client.FlushAll(t.Context()).Err())
				f.check(f.pub.Publish("t", numbered(2)...))
				p := newProxy(t, f.server.Addr)
				r := f.open(redis.SubscriberConfig{Client: p.client(once), Lease: time.Minute, Block: 10 * time.Millisecond}, "t")
				got := f.sure(r, 2)
				ctx, die := context.WithCancel(t.Context())
				hit := false
				p.obey(func(cmd []string) fate {
					switch {
					case hit && crash:
						return notSent
					case hit || cmd[0] != at:
						return passed
					}
					if hit = true; crash {
						die()
					}
					return cut
				})
				err := r.Settle(ctx, acks(got)...)
				redis.Crash(r)
				die()
				f.eventually("the server has done what it was sent", p.idle)
				name := fmt.Sprintf("cut %d at %s %s, crash %v", k, at, cut, crash)
				if !crash && err != nil {
					t.Errorf("%s: settle: %v", name, err)
				}
				pending, want := f.pending(), "done"
				if pending != 0 {
					want = "busy"
				}
				if pending != 0 && pending != 2 || !crash && pending != 0 {
					t.Errorf("%s: %d are pending", name, pending)
				}
				f.wantMarks(got, want)
			}
		}
	}
}

func TestAMarkThatTheServerHasNoRoomForKeepsItsMessage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.check(f.pub.Publish("t", numbered(2)...))
	r := f.receiver(redis.SubscriberConfig{Lease: 500 * time.Millisecond})
	got := f.sure(r, 2)
	f.check(f.client.ConfigSet(t.Context(), "maxmemory", "1").Err())
	err := r.Settle(t.Context(), acks(got)...)
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok || len(failed.Unsettled) != 2 || !strings.Contains(err.Error(), "raise maxmemory") {
		t.Errorf("settle: %v", err)
	}
	f.check(f.client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	if n := f.pending(); n != 2 {
		t.Errorf("%d are pending", n)
	}
	f.wantMarks(got, "busy")
}

// Half a lease has passed since the claim was made, and meanwhile somebody has it.
func TestAClaimThatMayBeAnothersIsLookedAt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.check(f.pub.Publish("t", numbered(2)...))
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	got := f.sure(r, 2)
	for _, d := range got {
		h := *d.HeldClaim()
		h.Since = time.Now().Add(-h.Claim.Lease / 2)
		d.HoldClaim(&h)
	}
	f.check(f.client.PExpire(t.Context(), "idempotency:"+got[0].Message.UUID, 0).Err())
	f.wantMarks(got[:1], "started")
	err := r.Settle(t.Context(), acks(got)...)
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok || len(failed.Unsettled) != 1 || !errors.Is(err, transport.ErrClaimLost) {
		t.Errorf("settle: %v", err)
	}
	f.wantBegin(f.idempotency(), claimOf(got[0].Message.UUID, "c"), "busy")
	f.wantMarks(got[1:], "done")
}

// An entry that may be another's is acked by who looks at its claim.
func TestAnEntryWhoseLeaseIsInDoubtIsAckedUnderItsClaim(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.check(f.pub.Publish("t", numbered(1)...))
	crashed := f.open(redis.SubscriberConfig{Lease: 50 * time.Millisecond}, "t")
	got := f.sure(crashed, 1)
	redis.Crash(crashed) // Its leases are not renewed any more.
	r := f.receiver(redis.SubscriberConfig{Lease: 50 * time.Millisecond})
	again := f.receive(r)
	next := claimOf(again.Message.UUID, "next")
	f.check(f.client.PExpire(t.Context(), "idempotency:"+again.Message.UUID, 0).Err())
	f.wantBegin(f.idempotency(), next, "started")
	if err := crashed.Settle(t.Context(), acks(got)...); !errors.Is(err, transport.ErrClaimLost) {
		t.Errorf("settle: %v", err)
	}
	if n := f.pending(); n != 1 {
		t.Errorf("%d are pending", n)
	}
	f.wantBegin(f.idempotency(), claimOf(again.Message.UUID, "other"), "busy")
	f.check(r.Settle(t.Context(), again.Ack()))
}

func TestMessagesOfAnEntryOfManyAreMarkedWithTheirAcks(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, first := range []int{9, 20} {
		f.check(f.client.FlushAll(t.Context()).Err())
		f.check(f.packer(redis.PackConfig{}).Publish("t", numbered(20)...))
		r := f.open(redis.SubscriberConfig{Lease: time.Minute}, "t")
		got := f.sure(r, 20)
		f.do("CONFIG", "RESETSTAT")
		f.do("SCRIPT", "FLUSH") // A script that it does not know would be too late.
		f.check(r.Settle(t.Context(), acks(got[:first])...))
		if n, parts := f.pending(), f.progress(); first < 20 && (n != 1 || len(parts) != 1) {
			t.Errorf("%d are pending, %v settled in part", n, parts)
		}
		f.check(r.Settle(t.Context(), acks(got[first:])...))
		if n, parts := f.pending(), f.progress(); n != 0 || len(parts) != 0 {
			t.Errorf("%d are pending, %v settled in part", n, parts)
		}
		if looks := f.calls("get"); looks != 0 {
			t.Errorf("a look at %d claims", looks)
		}
		f.wantMarks(got, "done")
		f.check(r.Close())
	}
}

// Such a user can have all that there is but the step of plain commands.
func TestAUserWhoMayNotBeginTransactionsHasTheScript(t *testing.T) {
	t.Parallel()
	f := newSecureFixture(t)
	rules := append(redis.EffectsOnceACL("g", "", []string{"t"}, nil), "-multi", "-exec")
	f.check(f.publisher(f.client).Publish("t", numbered(3)...))
	r := f.open(redis.SubscriberConfig{Client: f.limited("old", rules), Lease: time.Minute}, "t")
	got := f.sure(r, 3)
	f.check(r.Settle(t.Context(), acks(got)...))
	if n := f.pending(); n != 0 {
		t.Errorf("%d are pending", n)
	}
	f.wantMarks(got, "done")
	f.check(r.Close())
}
