package middleware

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/logistically/events/transport"
)

// ahead is the claims of a lot of deliveries, which are made in one call by the
// first handler of the lot that needs its own. So a message costs a part of a
// round trip, and nobody waits for a time to pass.
type ahead struct {
	claims []transport.Claim // by place in the lot; those without a key are not made
	began  atomic.Bool
	ended  chan struct{} // closed when what follows is there
	at     time.Time     // before the claims were made
	result []transport.ClaimResult
	err    error
	used   []atomic.Bool // by place: the result was used
}

// look prepares the claims of a lot. Keys are taken here and not when they are
// needed, when other handlers may be changing the messages already.
func (i *idempotency) look(lot *transport.Lot) {
	n := len(lot.Deliveries)
	a := &ahead{claims: make([]transport.Claim, n), used: make([]atomic.Bool, n), ended: make(chan struct{})}
	held := make([]transport.Held, n)
	base := rand.Text() + "-" // unique for the lot
	for place, d := range lot.Deliveries {
		key, err := i.key(d.Message)
		if err != nil || !d.Concludes(i.Store, key) {
			continue
		}
		a.claims[place] = i.claim(key, base+strconv.Itoa(place), d.Message, d)
		held[place] = transport.Held{Claim: &a.claims[place], Store: i.Store}
		d.HoldClaim(&held[place])
	}
	lot.Set(i, a)
}

// madeAhead returns the result of the claim that was made ahead for a delivery. It
// is not ok if there is none, or it is of no use any more.
func (i *idempotency) madeAhead(ctx context.Context, d *transport.Delivery, key, fingerprint string) (c *transport.Claim, result transport.ClaimResult, ok bool, err error) {
	lot, place := d.Lot()
	if lot == nil {
		return nil, result, false, nil
	}
	lot.LookAhead(i, i.look)
	a, _ := lot.Value(i).(*ahead)
	if a == nil {
		return nil, result, false, nil
	}
	c = &a.claims[place]
	if c.Key != key || c.Fingerprint != fingerprint || a.used[place].Swap(true) {
		return nil, result, false, nil
	}
	if a.began.CompareAndSwap(false, true) {
		a.begin(ctx, i.Store)
	} else {
		// It takes no longer than for the handler that makes them, whose context does not
		// end them either. Most of a lot wait here: to ask each one's context would cost
		// more than the claim.
		<-a.ended
	}
	if ctx.Err() != nil {
		return nil, result, false, fmt.Errorf("middleware: idempotency: claim %q: %w", key, context.Cause(ctx))
	}
	if a.err != nil || time.Since(a.at) > i.Lease/2 {
		return nil, result, false, nil
	}
	return c, a.result[place], true, nil
}

func (a *ahead) begin(ctx context.Context, store IdempotencyStore) {
	defer close(a.ended)
	a.at = time.Now()
	made := make([]transport.Claim, 0, len(a.claims))
	for _, c := range a.claims {
		if c.Key != "" {
			made = append(made, c)
		}
	}
	results, err := beginAll(context.WithoutCancel(ctx), store, made...) // They are of others, too.
	if a.err = err; err != nil {
		return
	}
	a.result = make([]transport.ClaimResult, len(a.claims))
	for place, c := range a.claims {
		if c.Key != "" {
			a.result[place], results = results[0], results[1:]
		}
	}
}
