package middleware

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/logistically/events/transport"
)

// ahead is the claims of a lot of deliveries, which are made in one call by the
// first handler of the lot that needs its own. So a message costs a part of a
// round trip, and nobody waits for a time to pass.
type ahead struct {
	claims []transport.Claim
	runs   []run // by place in the lot
	began  atomic.Bool
	ended  chan struct{} // closed when what follows is there
	at     time.Time     // before the claims were made
	result []transport.ClaimResult
	err    error
}

// run is what there is of one delivery of a lot.
type run struct {
	claim
	key  string // without the scope; "" if no claim is made
	held transport.Held
	nth  int // of the claims
	used atomic.Bool
}

// look prepares the claims of a lot. Keys are taken here and not when they are
// needed, when other handlers may be changing the messages already.
func (i *idempotency) look(lot *transport.Lot) {
	n := len(lot.Deliveries)
	a := &ahead{claims: make([]transport.Claim, 0, n), runs: make([]run, n), ended: make(chan struct{})}
	base := rand.Text() // With the place it is unique.
	size := 0
	for place, d := range lot.Deliveries {
		key, err := i.key(d.Message)
		if err == nil {
			a.runs[place].key = key
			size += len(i.prefix) + len(key) + len(base) + len("-9999")
		}
	}
	var text strings.Builder // One allocation for all; what is cut from it stays as it is.
	text.Grow(size)
	for place, d := range lot.Deliveries {
		r := &a.runs[place]
		if r.key == "" {
			continue
		}
		start := text.Len()
		text.WriteString(i.prefix)
		text.WriteString(r.key)
		key := text.String()[start:]
		if !d.Concludes(i.Store, key) {
			r.key = ""
			continue
		}
		start = text.Len()
		var room [8]byte
		text.WriteString(base)
		text.Write(strconv.AppendInt(append(room[:0], '-'), int64(place), 10))
		r.nth = len(a.claims)
		a.claims = append(a.claims, i.claim(key, text.String()[start:], d.Message, d))
		r.held = transport.Held{Claim: &a.claims[r.nth], Store: i.Store}
		d.HoldClaim(&r.held)
	}
	lot.Set(i, a)
}

// madeAhead returns the claim that was made ahead for a delivery, and its result. It is
// nil if there is none, or it is of no use any more.
func (i *idempotency) madeAhead(ctx context.Context, d *transport.Delivery, key, fingerprint string) (c *claim, result transport.ClaimResult, err error) {
	lot, place := d.Lot()
	if lot == nil {
		return nil, result, nil
	}
	lot.LookAhead(i, i.look)
	a, _ := lot.Value(i).(*ahead)
	if a == nil {
		return nil, result, nil
	}
	r := &a.runs[place]
	if r.key != key || a.claims[r.nth].Fingerprint != fingerprint || r.used.Swap(true) {
		return nil, result, nil
	}
	if a.began.CompareAndSwap(false, true) {
		lot.While(func() { a.begin(ctx, i.Store) })
	} else {
		// It takes no longer than for the handler that makes them, whose context does not
		// end them either.
		<-a.ended
	}
	r.claim = claim{Claim: &a.claims[r.nth], store: i.Store, ctx: ctx, holds: d, since: a.at}
	if ctx.Err() != nil {
		return &r.claim, result, fmt.Errorf("middleware: idempotency: claim %q: %w", r.Key, context.Cause(ctx))
	}
	if a.err != nil || time.Since(a.at) > i.Lease/2 {
		return nil, result, nil
	}
	return &r.claim, a.result[r.nth], nil
}

func (a *ahead) begin(ctx context.Context, store IdempotencyStore) {
	defer close(a.ended)
	a.at = time.Now()
	a.result, a.err = beginAll(context.WithoutCancel(ctx), store, a.claims...) // They are of others, too.
}
