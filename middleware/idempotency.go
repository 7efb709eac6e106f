package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/logistically/events"
)

// IdempotencyStore remembers which events are being handled and which were.
// redis.IdempotencyStore and [MemoryIdempotencyStore] are such stores. Each
// method is one atomic step, and safe for concurrent use.
type IdempotencyStore interface {
	// Begin claims key for token until lease has passed, or renews the claim. It
	// returns started if token holds the claim now, done if key is marked done,
	// and neither if another token holds a claim that has not expired.
	Begin(ctx context.Context, key, token string, lease time.Duration) (started, done bool, err error)
	// Done marks key as done until keep has passed. It is an error if another
	// token holds the claim.
	Done(ctx context.Context, key, token string, keep time.Duration) error
	// Abort drops the claim if it is token's.
	Abort(ctx context.Context, key, token string) error
}

// ErrInProgress says that another consumer is handling the same event.
var ErrInProgress = errors.New("the event is being handled elsewhere")

// IdempotencyConfig configures [Idempotency].
type IdempotencyConfig struct {
	// Store is required.
	Store IdempotencyStore
	// Scope keeps marks of different consumers apart: use the group's name.
	// Handlers that share a scope and a store do not run both for one event.
	Scope string
	// Key names an event. Nil means KeyByID.
	Key func(*message.Message) string
	// Lease is how long one attempt of the handler may take; after that
	// another consumer may begin. Zero means 5 min.
	Lease time.Duration
	// Keep is how long an event is remembered as handled. Zero means 24 h.
	Keep time.Duration
	// BusyDelay is when a message comes back that is being handled elsewhere.
	// Zero means 1 s.
	BusyDelay time.Duration
}

// KeyByID names an event by its id: two events with equal bodies are two.
func KeyByID(msg *message.Message) string { return msg.UUID }

// KeyByHash names an event by the hash of its body: two events with equal
// bodies are one.
func KeyByHash(msg *message.Message) string {
	if hash := msg.Metadata[events.MetadataHash]; hash != "" {
		return hash
	}
	return events.Hash(msg.Payload)
}

// Idempotency runs the handler once for each event, however often it is
// delivered: an event is marked as done after the handler has succeeded.
//
// A handler that failed or panicked, or whose process died, runs again. A duplicate
// of an event that was handled is acked; one of an event being handled comes
// back after BusyDelay. If the store cannot be asked the handler does not run, and
// if the mark cannot be written the message comes back: its handler may then run
// twice. Place it innermost.
func Idempotency(cfg IdempotencyConfig) (message.HandlerMiddleware, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			key := cfg.Key(msg)
			if key == "" {
				return nil, events.Permanent(fmt.Errorf("idempotency: event %q of type %q has no key: set an id, or IdempotencyConfig.Key", msg.UUID, msg.Metadata[events.MetadataType]))
			}
			return cfg.once(next, msg, cfg.Scope+":"+key)
		}
	}, nil
}

func (cfg *IdempotencyConfig) complete() error {
	if cfg.Store == nil {
		return &events.ConfigError{Field: "middleware.IdempotencyConfig.Store", Value: nil, Problem: "is nil", Remedy: "pass redis.NewIdempotencyStore's or middleware.NewMemoryIdempotencyStore's"}
	}
	if cfg.Lease < 0 || cfg.Keep < 0 || cfg.BusyDelay < 0 {
		return &events.ConfigError{Field: "middleware.IdempotencyConfig.Lease, Keep or BusyDelay", Value: []time.Duration{cfg.Lease, cfg.Keep, cfg.BusyDelay}, Problem: "is negative", Remedy: "set durations, or 0 for the defaults"}
	}
	if cfg.Key == nil {
		cfg.Key = KeyByID
	}
	if cfg.Lease == 0 {
		cfg.Lease = 5 * time.Minute
	}
	if cfg.Keep == 0 {
		cfg.Keep = 24 * time.Hour
	}
	if cfg.BusyDelay == 0 {
		cfg.BusyDelay = time.Second
	}
	return nil
}

func (cfg *IdempotencyConfig) once(next message.HandlerFunc, msg *message.Message, key string) (produced []*message.Message, err error) {
	token := uuid.NewString()
	started, done, err := cfg.Store.Begin(msg.Context(), key, token, cfg.Lease)
	switch {
	case err != nil:
		return nil, fmt.Errorf("idempotency: event %s: %w", msg.UUID, err)
	case done:
		return nil, nil
	case !started:
		return nil, events.RetryAfter(cfg.BusyDelay, fmt.Errorf("idempotency: event %s: %w", msg.UUID, ErrInProgress))
	}
	// A panic passes through here; the claim must not outlive it.
	returned := false
	defer func() {
		if returned && err == nil {
			return
		}
		ctx, cancel := afterwards(msg)
		defer cancel()
		if abortErr := cfg.Store.Abort(ctx, key, token); abortErr != nil && returned {
			err = fmt.Errorf("%w (and its claim stays for %v: %w)", err, cfg.Lease, abortErr)
		}
	}()
	produced, err = next(msg)
	returned = true
	if err != nil {
		return nil, err
	}
	ctx, cancel := afterwards(msg)
	defer cancel()
	if err = cfg.Store.Done(ctx, key, token, cfg.Keep); err != nil {
		return nil, fmt.Errorf("idempotency: event %s was handled and will be again: %w", msg.UUID, err)
	}
	return produced, nil
}

// storeTimeout bounds what follows a handler, whose own context may have ended.
const storeTimeout = 5 * time.Second

func afterwards(msg *message.Message) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(msg.Context()), storeTimeout)
}
