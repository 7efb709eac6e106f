package transport

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

var (
	// ErrClaimLost says that another run of a handler holds the claim by now:
	// the claim's Lease was shorter than the handler took, or the delivery has
	// gone to another consumer.
	ErrClaimLost = errors.New("transport: another consumer holds the claim of this event: let claims last longer than handlers may take")

	// ErrClaimDone says that another run has marked the event as done meanwhile.
	ErrClaimDone = errors.New("transport: another consumer has handled this event meanwhile")
)

// Claim is what one run of a handler tells a store that remembers which events
// are being handled and which were.
type Claim struct {
	// Key is what the event is recognised by.
	Key string
	// Fingerprint is of the event's payload, without white space: a claim of the
	// same key with another one is of another event. Empty means that it may be any.
	Fingerprint string
	// Token is of this run alone, without white space, never empty.
	Token string
	// Holder names the delivery whose run this is, and Attempt which one it is.
	// The claim of an earlier attempt of the same delivery, or of the same one, is
	// taken over: its consumer has crashed, has lost its lease or has given the
	// message back. Empty means that it is not known, and nothing is taken over.
	Holder  string
	Attempt int
	// Lease is how long the claim lasts, Keep how long its mark does.
	Lease, Keep time.Duration
}

// ClaimState is what a store says to a claim.
type ClaimState int

const (
	// ClaimStarted: the claim is ours now, for its Lease.
	ClaimStarted ClaimState = iota + 1
	// ClaimBusy: another token holds a claim that has not expired.
	ClaimBusy
	// ClaimMarked: the key is marked, the event was handled before.
	ClaimMarked
	// ClaimMismatch: the key is claimed or marked with another fingerprint.
	ClaimMismatch
)

// ClaimResult is a store's answer to one claim.
type ClaimResult struct {
	State    ClaimState
	Produced []byte // ClaimMarked: what Done stored with the mark
}

// ClaimStore concludes claims.
type ClaimStore interface {
	// Done marks the claim's key as done, for Keep from now, ends the claim and
	// keeps produced with the mark. It must succeed if the token holds the
	// claim, and if nobody does: the claim may have expired, and the handler has
	// succeeded all the same. Repeated by the same token it must succeed and
	// change nothing. It must fail and change nothing with an error that wraps
	// ErrClaimLost if another token holds the claim, and ErrClaimDone if another
	// one has set the mark.
	Done(ctx context.Context, c Claim, produced []byte) error

	// Abort ends the claim if its token holds it, so that the next run starts
	// at once. Otherwise it changes nothing, a mark above all, and that is no error.
	Abort(ctx context.Context, c Claim) error
}

// LocalClaimStore is a ClaimStore in the memory of this process. The memory
// transport calls it with its own lock held: it must not wait, nor publish.
type LocalClaimStore interface {
	ClaimStore
	Local()
}

// Held is a claim that is concluded when its delivery is settled.
type Held struct {
	Claim *Claim // not to be changed any more
	Store ClaimStore
	// Done: the handler has succeeded. An Ack marks the event, in the same atomic
	// step. Any other settlement, and any of a claim that is not Done, drops the claim.
	Done bool
	// Since is a time before the claim was made, or renewed. For half its Lease from
	// then on it is taken for ours without looking; see Sure. Zero: it is looked at.
	Since time.Time
}

// Sure reports whether at a time of now nobody but us can hold the claim, as its lease
// has half its time to go at least. A claim is taken over before its lease has ended only
// by who has got the delivery itself, which a receiver knows by the delivery's own lease.
func (h *Held) Sure(now time.Time) bool {
	return !h.Since.IsZero() && now.Sub(h.Since) < h.Claim.Lease/2
}

// Produced is what a handler has produced, to be published in the step that acks
// the message it was made of.
type Produced struct {
	Publisher message.Publisher
	Topic     string
	Messages  []*message.Message
}

// Committer is implemented by the Receipt of a delivery whose receiver can do
// more in the atomic step that settles it: conclude the claim that the delivery
// holds, and publish an Outcome's Produced. Either all of it happens or nothing;
// nothing, and the outcome is reported as unsettled, if the claim was lost; and if
// another run has marked the event, the delivery is only acked.
type Committer interface {
	// Holder names the delivery: the same over all its attempts, and another one
	// in each group.
	Holder() string
	// Concludes reports whether a claim of a key that store has made can be
	// concluded by settling.
	Concludes(store ClaimStore, key string) bool
	// Publishes reports whether an ack can publish what pub would publish to topic.
	Publishes(pub message.Publisher, topic string) bool
}

// HoldClaim attaches a claim to the delivery in place of the one that it holds, if
// any; nil for none. Only claims that d.Concludes may be held. It may be called
// concurrently with settling.
func (d *Delivery) HoldClaim(h *Held) {
	if d.lot != nil {
		d.lot.held[d.place].Store(h)
	}
}

// HeldClaim returns the claim that the delivery holds, or nil.
func (d *Delivery) HeldClaim() *Held {
	if d.lot == nil {
		return nil
	}
	return d.lot.held[d.place].Load()
}

// Holder returns what Committer.Holder does, or "" without a Committer.
func (d *Delivery) Holder() string {
	if c, ok := d.Receipt.(Committer); ok {
		return c.Holder()
	}
	return ""
}

// Concludes reports whether the delivery can hold a claim of store, to be concluded
// by settling it: it must be one of a [Lot], too.
func (d *Delivery) Concludes(store ClaimStore, key string) bool {
	if d.lot == nil {
		return false
	}
	c, ok := d.Receipt.(Committer)
	return ok && c.Concludes(store, key)
}

// Publishes reports whether an ack of d can publish what the handler returns to
// where its router would.
func (d *Delivery) Publishes() bool {
	if d.lot == nil || d.lot.Publisher == nil {
		return false
	}
	c, ok := d.Receipt.(Committer)
	return ok && c.Publishes(d.lot.Publisher, d.lot.Topic)
}
