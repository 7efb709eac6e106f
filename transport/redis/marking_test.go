package redis_test

import (
	"testing"
	"time"

	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// sure receives n messages under claims that are done, and known to be ours.
func (f *fixture) sure(r transport.Receiver, n int) []*transport.Delivery {
	f.t.Helper()
	store := f.idempotency()
	got := f.receiveAll(r, n)
	transport.NewLot(&transport.Route{}, got)
	for _, d := range got {
		c := claimOf(d.Message.UUID, "a")
		since := time.Now()
		f.wantBegin(store, c, "started")
		d.HoldClaim(&transport.Held{Claim: &c, Store: store, Done: true, Since: since})
	}
	return got
}

func TestAcksUnderClaimsThatAreOursMarkThemInATransaction(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.check(f.publisher(f.client).Publish("t", numbered(250)...))
	r := f.open(redis.SubscriberConfig{Lease: time.Minute, Prefetch: 250}, "t")
	got := f.sure(r, 250)
	f.do("CONFIG", "RESETSTAT")
	f.check(r.Settle(t.Context(), acks(got)...))
	transactions, looks := f.calls("exec"), f.calls("get")
	if n := f.pending(); n != 0 {
		t.Errorf("%d are pending", n)
	}
	for _, d := range got {
		f.wantBegin(f.idempotency(), claimOf(d.Message.UUID, "b"), "done")
	}
	if transactions != 3 || looks != 0 {
		t.Errorf("%d transactions, and a look at %d claims", transactions, looks)
	}
}
