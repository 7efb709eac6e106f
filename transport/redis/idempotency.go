package redis

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/begin.lua
	beginSource string
	//go:embed scripts/done.lua
	doneSource string
	//go:embed scripts/abort.lua
	abortSource string

	beginScript = newSharedScript(beginSource)
	doneScript  = newSharedScript(doneSource)
	abortScript = newSharedScript(abortSource)
)

// IdempotencyStoreConfig configures [NewIdempotencyStore].
type IdempotencyStoreConfig struct {
	// Client is the connection to Redis. Required; never closed here. With the
	// client of a [Subscriber] (and of a [Publisher]), claims are concluded in the
	// step that settles; see middleware.Idempotency.
	Client goredis.UniversalClient
	// KeyPrefix is put before each key. On Redis Cluster a hash tag in it, that of
	// the topics, puts keys, topics and what is produced into one slot, which one
	// atomic step over all of them needs. Empty means "idempotency:".
	KeyPrefix string
}

const defaultKeyPrefix = "idempotency:"

// IdempotencyStore remembers which events are being handled and which were. It
// is the Redis store of the idempotency middleware: one key an event, and one
// atomic step a transition. Many claims of one call are one command, and calls
// of concurrent handlers share round trips. Times are the server's. It is safe for
// concurrent use.
type IdempotencyStore struct {
	cfg     IdempotencyStoreConfig
	sharded bool
	shared  sharer
}

// NewIdempotencyStore returns a store, or a *events.ConfigError. It does no I/O.
func NewIdempotencyStore(cfg IdempotencyStoreConfig) (*IdempotencyStore, error) {
	if nilcheck.IsNil(cfg.Client) {
		return nil, &events.ConfigError{Field: "redis.IdempotencyStoreConfig.Client", Value: nil, Problem: "is nil", Remedy: "pass a client, such as goredis.NewClient's"}
	}
	if cfg.KeyPrefix == "" {
		cfg.KeyPrefix = defaultKeyPrefix
	}
	return &IdempotencyStore{cfg: cfg, sharded: sharded(cfg.Client), shared: sharer{client: cfg.Client}}, nil
}

// Begin makes claims, all of one call in one pipeline. Where a key holds something
// already, which is rare, a script says what that means: one command for all of them,
// or on a cluster one for each.
func (s *IdempotencyStore) Begin(ctx context.Context, claims ...transport.Claim) ([]transport.ClaimResult, error) {
	made, err := s.claimNew(ctx, claims)
	if err != nil {
		return nil, fmt.Errorf("redis: idempotency: begin %s: %w", describeClaims(claims), explain(err, s.keys(claims)...))
	}
	results := make([]transport.ClaimResult, len(claims))
	var others []transport.Claim
	for i := range claims {
		if results[i].State = transport.ClaimStarted; !made[i] {
			others = append(others, claims[i])
		}
	}
	if len(others) == 0 {
		return results, nil
	}
	answers, err := s.look(ctx, others)
	if err != nil {
		return nil, err
	}
	for i := range claims {
		if !made[i] {
			results[i], answers = answers[0], answers[1:]
		}
	}
	return results, nil
}

// claimNew claims the keys that hold nothing (SET NX), and tells which.
func (s *IdempotencyStore) claimNew(ctx context.Context, claims []transport.Claim) (made []bool, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	cmds := s.setsOf(ctx, claims)
	var sent error
	if len(cmds) == 1 {
		sent = s.shared.Process(ctx, cmds[0])
	} else {
		pipe := s.cfg.Client.Pipeline()
		if err := pipe.BatchProcess(ctx, cmds...); err != nil {
			return nil, err
		}
		_, sent = pipe.Exec(ctx)
	}
	made = make([]bool, len(claims))
	for i := range cmds {
		cmd, _ := cmds[i].(*goredis.StatusCmd)
		err := cmd.Err()
		switch made[i] = err == nil && cmd.Val() != ""; {
		case made[i], errors.Is(err, goredis.Nil):
		default: // An error, or not even sent; see Publisher.Publish.
			return nil, cmp.Or(err, sent, errNoReply)
		}
	}
	return made, nil
}

// setsOf returns the commands that make claims. What they consist of is allocated for
// all of them at once; see adding.
func (s *IdempotencyStore) setsOf(ctx context.Context, claims []transport.Claim) []goredis.Cmder {
	const argsOfClaim = 6
	n, size := len(claims), 0
	for i := range claims {
		size += len(s.cfg.KeyPrefix) + len(claims[i].Key) + sizeOfClaim(&claims[i])
	}
	t := newTexts(n, argsOfClaim, size)
	cmds, made := make([]goredis.Cmder, n), make([]goredis.StatusCmd, n)
	var lease time.Duration
	var leaseArg any
	for i := range claims {
		c := &claims[i]
		if leaseArg == nil || c.Lease != lease {
			lease, leaseArg = c.Lease, ms(c.Lease)
		}
		t.room = append(append(t.room, s.cfg.KeyPrefix...), c.Key...)
		key := t.cut()
		t.room = appendClaim(t.room, c)
		made[i] = *goredis.NewStatusCmd(ctx, t.command("set", key, t.cut(), "px", leaseArg, "nx")...)
		cmds[i] = &made[i]
	}
	return cmds
}

// look asks what there is under the keys of claims, and makes those that may be made
// all the same.
func (s *IdempotencyStore) look(ctx context.Context, claims []transport.Claim) ([]transport.ClaimResult, error) {
	most := mostClaims
	if s.sharded {
		most = 1
	}
	results := make([]transport.ClaimResult, 0, len(claims))
	var calls []*scriptCall
	for rest := claims; len(rest) > 0; {
		n := 1
		for n < min(most, len(rest)) && rest[n].Lease == rest[0].Lease {
			n++
		}
		calls = append(calls, s.begin(rest[:n]))
		rest = rest[n:]
	}
	if err := s.shared.run(ctx, calls...); err != nil {
		return nil, fmt.Errorf("redis: idempotency: begin %s: %w", describeClaims(claims), explain(err, s.keys(claims)...))
	}
	for _, c := range calls {
		answers, _ := c.reply.([]any)
		for _, v := range answers {
			answer, _ := v.(string)
			results = append(results, readAnswer(answer))
		}
	}
	if len(results) != len(claims) {
		return nil, fmt.Errorf("redis: idempotency: begin %s: %w: %d answers", describeClaims(claims), errReply, len(results))
	}
	return results, nil
}

// mostClaims is how many claims one command makes, while the server does nothing else.
const mostClaims = 128

// begin makes the call for claims of one lease.
func (s *IdempotencyStore) begin(claims []transport.Claim) *scriptCall {
	call := &scriptCall{script: beginScript, keys: s.keys(claims), args: make([]any, 1, 1+len(claims))}
	call.args[0] = ms(claims[0].Lease)
	for i := range claims {
		call.args = append(call.args, claimValue(&claims[i]))
	}
	return call
}

func readAnswer(answer string) transport.ClaimResult {
	if answer == "" {
		return transport.ClaimResult{}
	}
	switch answer[0] {
	case 's':
		return transport.ClaimResult{State: transport.ClaimStarted}
	case 'm':
		return transport.ClaimResult{State: transport.ClaimMismatch}
	case 'd':
		r := transport.ClaimResult{State: transport.ClaimMarked}
		if len(answer) > 1 {
			r.Produced = []byte(answer[1:])
		}
		return r
	}
	return transport.ClaimResult{State: transport.ClaimBusy}
}

// Done marks a claim's key as done and keeps produced with the mark.
func (s *IdempotencyStore) Done(ctx context.Context, c transport.Claim, produced []byte) error {
	call := &scriptCall{script: doneScript, keys: []string{s.key(c.Key)}, args: []any{claimValue(&c), markValue(&c), ms(c.Keep), produced}}
	err := s.shared.run(ctx, call)
	switch {
	case err != nil:
		err = explain(err, call.keys...)
	case call.reply == "busy":
		err = transport.ErrClaimLost
	case call.reply == "done":
		err = transport.ErrClaimDone
	}
	if err != nil {
		return fmt.Errorf("redis: idempotency: mark %q as done: %w", c.Key, err)
	}
	return nil
}

// Abort drops a claim if it is still its token's.
func (s *IdempotencyStore) Abort(ctx context.Context, c transport.Claim) error {
	call := &scriptCall{script: abortScript, keys: []string{s.key(c.Key)}, args: []any{claimValue(&c)}}
	if err := s.shared.run(ctx, call); err != nil {
		return fmt.Errorf("redis: idempotency: drop the claim of %q: %w", c.Key, explain(err, call.keys...))
	}
	return nil
}

func (s *IdempotencyStore) key(key string) string { return s.cfg.KeyPrefix + key }

func (s *IdempotencyStore) keys(claims []transport.Claim) []string {
	keys := make([]string, len(claims))
	for i := range claims {
		keys[i] = s.key(claims[i].Key)
	}
	return keys
}

func ms(d time.Duration) int64 { return max(d.Milliseconds(), 1) }

func describeClaims(claims []transport.Claim) string {
	if len(claims) == 0 {
		return "no claim"
	}
	text := strconv.Quote(claims[0].Key)
	if more := len(claims) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
