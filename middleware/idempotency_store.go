package middleware

import (
	"context"

	"github.com/logistically/events/transport"
)

// IdempotencyStore remembers which events are being handled and which were. It
// has two sorts of entries: a claim is held by a token until its lease has run
// out; a mark says that the key is done with until its time is over, and has the
// messages that its handler produced. Leases and times to keep are measured by
// the store's clock, never by that of its callers, so that these may be wrong.
//
// Implementations must be safe for concurrent use, and what is done about one
// key must be one atomic step for all that share the store. The types are those
// of package transport, so that a store need not import this package;
// transport/redis has one.
type IdempotencyStore interface {
	// Begin makes claims, in as few round trips as it can, and returns a result
	// for each, in order:
	//
	//	ClaimStarted   the claim is the token's now, for Lease from now. A token
	//	               that holds the claim already has it renewed, and a claim of
	//	               the same Holder by an earlier or the same Attempt is replaced.
	//	ClaimBusy      another token holds a claim that has not expired.
	//	ClaimMarked    the key is marked; with what was produced then.
	//	ClaimMismatch  it is claimed or marked, with another Fingerprint, and
	//	               neither of the two is empty.
	//
	// Claims of one call are independent. After an error any of them may or may
	// not be held.
	Begin(ctx context.Context, claims ...transport.Claim) ([]transport.ClaimResult, error)

	transport.ClaimStore // Done and Abort
}
