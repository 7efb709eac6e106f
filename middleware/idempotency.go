package middleware

import (
	"log/slog"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// Defaults of [IdempotencyConfig].
const (
	DefaultLease       = 5 * time.Minute
	DefaultKeep        = 24 * time.Hour
	DefaultBusyDelay   = time.Second
	DefaultMaxProduced = 1 << 20
)

// IdempotencyConfig configures [Idempotency].
type IdempotencyConfig struct {
	// Store remembers keys. Required. It must be shared by all consumers of the
	// scope; a [MemoryIdempotencyStore] serves one process.
	Store IdempotencyStore
	// Scope is put before each key. Required: the consumer group, or the name of
	// the handler where several handle the same event. Two that share a scope
	// share marks, and what one has handled the other never sees.
	Scope string
	// Key says by what an event is recognised. It must be safe for concurrent
	// use. Nil means the message's UUID, which is the event's id. See [KeyByHash].
	Key func(*message.Message) string
	// Lease is how long a claim lasts. It must be longer than the handler may
	// take: when it has run out, another consumer may start the same event. It
	// is also how long an event waits whose consumer died. Zero means
	// DefaultLease, 5 min.
	Lease time.Duration
	// Keep is how long an event stays known after it was handled. Later, a
	// duplicate runs the handler again. Zero means DefaultKeep, 24 h.
	Keep time.Duration
	// BusyDelay is after what time an event comes back that another consumer is
	// at. It doubles at every delivery, up to an eighth of Lease, so that waiting
	// for the claim of a dead consumer does not use up a message's deliveries.
	// Zero means DefaultBusyDelay, 1 s.
	BusyDelay time.Duration
	// MaxProduced is how many bytes the messages that a handler returns may have
	// when they are kept with the mark, packed. Those of more are published all the
	// same, and the event is marked after that, by its ack; where the ack cannot, it
	// is not marked, and a duplicate runs the handler again. That is logged. Zero
	// means DefaultMaxProduced, 1 MiB. No limit applies to what is published by
	// the ack itself.
	MaxProduced int
	// Logger gets a warning when MaxProduced is passed. Nil means slog.Default().
	Logger *slog.Logger
}

// Idempotency runs the handler of an event once, as far as at-least-once
// delivery allows: an event that was handled is acked without running it. Use
// it where handling an event twice does harm.
//
// An event is marked as done only after its handler has succeeded. When the
// handler fails or panics its claim is dropped, so the handler runs again at
// redelivery. An event that another consumer is at comes back later by
// events.RetryAfter and [ErrInProgress]. So does, for Lease, one whose consumer
// died; but where the transport names its deliveries (transport.Committer), the
// next delivery of the same message takes the claim over at once.
//
// Messages that the handler returns are kept with the mark. A duplicate returns
// them again, under their ids, for the process may have died before they were
// published. Over MaxProduced they are not kept: see there.
//
// An event whose key is known with another payload fails permanently with
// [ErrPayloadMismatch]. Payloads are compared by the header's hash, or their own.
//
// # In one step
//
// Under package router, with a transport whose receiver can settle and conclude a
// claim in one atomic step because Store is of the same server (transport/redis:
// the same client; transport/memory: a store of this process), the mark is set
// by the ack, and costs no round trip. If the handler is registered with a publisher
// of that server itself, with nothing around it, what the handler returns is
// published in that step as well: mark, produced messages and ack happen
// together or not at all, whenever the process dies, and a duplicate publishes
// nothing. Claims are made for all deliveries at once that were received together.
// On Redis Cluster all keys of one step must have the same hash tag; where they
// have not, or Store is another server, each is a step of its own, in the order
// claim, handler, mark with produced messages, publish, ack.
//
// # When it can run again
//
// The handler may run again after it succeeded: if the process dies before the
// mark is set, if Store fails to set it (that error is returned, and the message
// retried), or if the handler takes longer than Lease. What is published by the ack
// happens once even then; for what a handler writes to SQL see package sqlonce. A
// handler that returns events.Discard is not marked: a duplicate is discarded by
// the handler again.
//
// A message without a key fails permanently with [ErrNoKey]; an error of Store
// in claiming, or a panic of Key, is returned without running the handler. A
// panic of Store is an error of Store. Leases are measured by the store's clock.
//
// Put it next to the handler, inside Retry. In Watermill's router BusyDelay is
// not kept except by Retry: the message is nacked and comes back when its
// subscriber pleases.
func Idempotency(cfg IdempotencyConfig) (message.HandlerMiddleware, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Key == nil {
		cfg.Key = func(msg *message.Message) string { return msg.UUID }
	}
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Keep == 0 {
		cfg.Keep = DefaultKeep
	}
	if cfg.BusyDelay == 0 {
		cfg.BusyDelay = DefaultBusyDelay
	}
	if cfg.MaxProduced == 0 {
		cfg.MaxProduced = DefaultMaxProduced
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	i := &idempotency{
		IdempotencyConfig: cfg,
		// Without a colon in the scope, no two pairs of scope and key are the same.
		prefix: strings.NewReplacer("%", "%25", ":", "%3A").Replace(cfg.Scope) + ":",
	}
	i.seeing = i.look
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) { return i.handle(msg, next) }
	}, nil
}

func (c *IdempotencyConfig) check() error {
	switch {
	case nilcheck.IsNil(c.Store):
		return configError("IdempotencyConfig.Store", c.Store, "is nil", "set it to a store, such as redis.NewIdempotencyStore's")
	case c.Scope == "":
		return configError("IdempotencyConfig.Scope", c.Scope, "is empty", "set it to the consumer group, so that groups do not share marks")
	case c.Lease < 0:
		return configError("IdempotencyConfig.Lease", c.Lease, "is negative", "set it over the handler's deadline, or to 0 for 5 min")
	case c.Keep < 0:
		return configError("IdempotencyConfig.Keep", c.Keep, "is negative", "set it to a duration, or to 0 for 24 h")
	case c.BusyDelay < 0:
		return configError("IdempotencyConfig.BusyDelay", c.BusyDelay, "is negative", "set it to a duration, or to 0 for 1 s")
	case c.MaxProduced < 0:
		return configError("IdempotencyConfig.MaxProduced", c.MaxProduced, "is negative", "set it to a number of bytes, or to 0 for 1 MiB")
	}
	return nil
}

// KeyByHash recognises an event by its type and the hash of its body, from the
// header or else computed: for publishers that send the same event under a new
// id when they try again. Two events of one type that have equal bodies and are
// meant to be two count as one. The type is part of it, because "user.created"
// and "user.deleted" often have the same body.
func KeyByHash(msg *message.Message) string {
	hash := msg.Metadata[events.MetadataHash]
	if hash == "" {
		hash = events.Hash(msg.Payload)
	}
	return msg.Metadata[events.MetadataType] + ":" + hash
}
