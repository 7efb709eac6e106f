package middleware

import (
	"context"
	"time"
)

// IdempotencyStore remembers which events are being handled and which were. It
// has two sorts of entries: a claim is held by a token until its lease has run
// out; a mark says that the key is done with until its time is over.
//
// Implementations must be safe for concurrent use, and each method must be one
// atomic step for all that share the store. The methods have basic types only,
// so that a store need not import this package; transport/redis has one.
type IdempotencyStore interface {
	// Begin claims key for token. It returns
	//
	//	started      the claim is ours now, for lease from now; a token that
	//	             holds the claim already has it renewed
	//	done         the key is marked: it was handled before
	//	neither      another token holds a claim that has not expired
	//
	// never both, and neither with an error. After an error the claim may or
	// may not be held.
	Begin(ctx context.Context, key, token string, lease time.Duration) (started, done bool, err error)

	// Done marks key as done for keep from now, and ends the claim. It must
	// succeed if token holds the claim, and if nobody does: the claim may have
	// expired, and the handler has succeeded all the same. It may be repeated. It
	// must fail, and change nothing, if another token holds the claim.
	Done(ctx context.Context, key, token string, keep time.Duration) error

	// Abort ends the claim if token holds it, so that the next Begin starts at
	// once. Otherwise it changes nothing, a mark above all, and that is no error.
	Abort(ctx context.Context, key, token string) error
}
