package middleware

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// ahead is the claims of a lot of deliveries, which are made in one call by the
// first handler of the lot that needs its own. So a message costs a part of a
// round trip, and nobody waits for a time to pass.
type ahead struct {
	lot   *transport.Lot
	seen  []seen // by place in the lot
	began atomic.Bool
	ended chan struct{} // closed when what follows is there

	at      time.Time // before the claims were made
	runs    []run     // by place in the lot
	results []transport.ClaimResult
	err     error
}

// seen is what a delivery was before anybody had it. More is not made of it until it is
// needed, because most of what was received waits in a queue.
type seen struct {
	key         string // without the scope; "" if there is none
	fingerprint string
	attempt     int
}

// run is the claim of one delivery of a lot.
type run struct {
	claim
	held transport.Held // the claim, until its handler has succeeded
	nth  int            // of the claims; -1 if it is none
	used atomic.Bool
}

// look sees the deliveries of a lot. Keys are taken here and not when they are
// needed, when other handlers may be changing the messages already.
func (i *idempotency) look(lot *transport.Lot) {
	a := &ahead{lot: lot, seen: make([]seen, len(lot.Deliveries)), ended: make(chan struct{})}
	for place, d := range lot.Deliveries {
		if key, err := i.key(d.Message); err == nil {
			a.seen[place] = seen{key, fingerprint(d.Message), d.Attempt}
		}
	}
	lot.Set(i, a)
}

// madeAhead returns the claim that was made ahead for a delivery, and its result. It is
// nil if there is none, or it is of no use any more.
func (i *idempotency) madeAhead(ctx context.Context, d *transport.Delivery, key string, msg *message.Message) (c *claim, result transport.ClaimResult, err error) {
	lot, place := d.Lot()
	if lot == nil {
		return nil, result, nil
	}
	lot.LookAhead(i, i.seeing)
	a, _ := lot.Value(i).(*ahead)
	if a == nil || a.seen[place].key != key || !hasFingerprint(msg, a.seen[place].fingerprint) {
		return nil, result, nil
	}
	if err := a.await(ctx, i); err != nil {
		return nil, result, fmt.Errorf("middleware: idempotency: claim %q: %w", key, err)
	}
	r := &a.runs[place]
	if r.nth < 0 || r.used.Swap(true) {
		return nil, result, nil
	}
	r.ctx, r.holds, r.since = ctx, d, a.at
	if a.err != nil || time.Since(a.at) > i.Lease/2 {
		return nil, result, nil
	}
	return &r.claim, a.results[r.nth], nil
}

// await has the claims made, unless that has begun already, and waits for them. When it
// returns an error, the claim of the handler that waited may be made all the same: its next
// attempt has it, or settling drops it, or it is taken over by who has the delivery next.
func (a *ahead) await(ctx context.Context, i *idempotency) error {
	if a.began.CompareAndSwap(false, true) {
		a.begin(context.WithoutCancel(ctx), i) // The claims are of others, too.
		return context.Cause(ctx)
	}
	select {
	case <-a.ended: // as most often: then nobody's context is asked
		return nil
	default:
	}
	select {
	case <-a.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin makes the claims.
func (a *ahead) begin(ctx context.Context, i *idempotency) {
	a.lot.While(func() {
		defer close(a.ended)
		claims := a.prepare(i)
		a.at = time.Now()
		a.results, a.err = beginAll(ctx, i.Store, claims...)
	})
}

// prepare makes claims of what was seen, and has the deliveries hold them.
func (a *ahead) prepare(i *idempotency) []transport.Claim {
	a.runs = make([]run, len(a.seen))
	claims := make([]transport.Claim, 0, len(a.seen))
	base := rand.Text()[:16] // With the place it is unique, among the runs of one event.
	size := 0
	for place := range a.seen {
		size += len(i.prefix) + len(a.seen[place].key) + len(base) + len("-9999")
	}
	var text strings.Builder // One allocation for all; what is cut from it stays as it is.
	text.Grow(size)
	for place, d := range a.lot.Deliveries {
		s, r := &a.seen[place], &a.runs[place]
		r.nth = -1
		if s.key == "" {
			continue
		}
		start := text.Len()
		text.WriteString(i.prefix)
		text.WriteString(s.key)
		key := text.String()[start:]
		if !d.Concludes(i.Store, key) {
			continue
		}
		start = text.Len()
		var room [8]byte
		text.WriteString(base)
		text.Write(strconv.AppendInt(append(room[:0], '-'), int64(place), 10))
		r.nth = len(claims)
		claims = append(claims, transport.Claim{
			Key: key, Fingerprint: s.fingerprint, Token: text.String()[start:], Holder: d.Holder(), Attempt: s.attempt, Lease: i.Lease, Keep: i.Keep,
		})
		r.Claim, r.store = &claims[r.nth], i.Store
		r.held = transport.Held{Claim: r.Claim, Store: i.Store}
		d.HoldClaim(&r.held)
	}
	return claims
}
