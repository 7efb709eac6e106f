package redis

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	goredis "github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/begin.lua
	beginSource string
	//go:embed scripts/done.lua
	doneSource string
	//go:embed scripts/abort.lua
	abortSource string

	beginScript = goredis.NewScript(beginSource)
	doneScript  = goredis.NewScript(doneSource)
	abortScript = goredis.NewScript(abortSource)
)

// IdempotencyStoreConfig configures [NewIdempotencyStore].
type IdempotencyStoreConfig struct {
	// Client is the connection to Redis. Required; never closed here.
	Client goredis.UniversalClient
	// KeyPrefix is put before each key. Empty means "idempotency:".
	KeyPrefix string
}

const defaultKeyPrefix = "idempotency:"

// IdempotencyStore remembers which events are being handled and which were. It
// is the Redis store of the idempotency middleware: one key an event, one
// script, and so one round trip, a transition. It is safe for concurrent use.
type IdempotencyStore struct {
	cfg IdempotencyStoreConfig
}

// NewIdempotencyStore returns a store, or a *events.ConfigError. It does no I/O.
func NewIdempotencyStore(cfg IdempotencyStoreConfig) (*IdempotencyStore, error) {
	if nilcheck.IsNil(cfg.Client) {
		return nil, &events.ConfigError{Field: "redis.IdempotencyStoreConfig.Client", Value: nil, Problem: "is nil", Remedy: "pass a client, such as goredis.NewClient's"}
	}
	if cfg.KeyPrefix == "" {
		cfg.KeyPrefix = defaultKeyPrefix
	}
	return &IdempotencyStore{cfg}, nil
}

// Begin claims key for token, until lease has passed. It returns started if
// the claim is ours now, done if the key was marked done before, and neither
// if another token holds a claim that has not expired.
func (s *IdempotencyStore) Begin(ctx context.Context, key, token string, lease time.Duration) (started, done bool, err error) {
	state, err := s.run(ctx, beginScript, "begin", key, token, lease)
	return state == "started", state == "done", err
}

// Done marks key as done for the time of keep, if the claim is token's, or
// has expired and nobody else's.
func (s *IdempotencyStore) Done(ctx context.Context, key, token string, keep time.Duration) error {
	state, err := s.run(ctx, doneScript, "mark as done", key, token, keep)
	if err == nil && state != "ok" {
		err = fmt.Errorf("redis: idempotency: mark %q as done: another consumer holds the claim: the lease was shorter than the handler took", key)
	}
	return err
}

// Abort drops the claim if it is still token's.
func (s *IdempotencyStore) Abort(ctx context.Context, key, token string) error {
	_, err := s.run(ctx, abortScript, "drop the claim of", key, token, 0)
	return err
}

func (s *IdempotencyStore) run(ctx context.Context, script *goredis.Script, what, key, token string, ttl time.Duration) (string, error) {
	full := s.cfg.KeyPrefix + key
	state, err := script.Run(ctx, s.cfg.Client, []string{full}, token, max(ttl.Milliseconds(), 1)).Text()
	if err != nil {
		return "", fmt.Errorf("redis: idempotency: %s %q: %w", what, key, explain(err, full))
	}
	return state, nil
}
