package middleware

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"github.com/logistically/events/transport"
)

// Defaults of [IdempotencyConfig].
const (
	DefaultLease     = 5 * time.Minute
	DefaultKeep      = 24 * time.Hour
	DefaultBusyDelay = time.Second
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
	// Logger gets a warning when a handler returns messages. Nil means slog.Default().
	Logger *slog.Logger
}

// Idempotency runs the handler of an event once, as far as at-least-once
// delivery allows: an event that was handled is acked without running it. Use
// it where handling an event twice does harm.
//
// An event is marked as done only after its handler has succeeded. When the
// handler fails or panics its claim is dropped, so the handler runs again at
// redelivery. An event that another consumer is at, or whose consumer died
// within Lease, comes back later by events.RetryAfter and [ErrInProgress].
//
// The handler may run again after it succeeded: if the process dies before the
// mark is set, if Store fails to set it (that error is returned, and the message
// retried), or if the handler takes longer than Lease. A handler that returns
// events.Discard is not marked: a duplicate is discarded by the handler again.
//
// Messages that a handler returns are published by the router afterwards, and
// would be lost if that failed once the event is marked. So a handler that
// returns any is not marked: no two consumers run it at a time, but a duplicate
// runs it again. Publish inside the handler instead; the first such event is logged.
//
// A message without a key fails permanently with [ErrNoKey]; an error of Store
// in claiming, or a panic of Key, is returned without running the handler. A
// panic of Store is an error of Store.
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
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	i := &idempotency{
		IdempotencyConfig: cfg,
		// Without a colon in the scope, no two pairs of scope and key are the same.
		prefix: strings.NewReplacer("%", "%25", ":", "%3A").Replace(cfg.Scope) + ":",
	}
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

type idempotency struct {
	IdempotencyConfig
	prefix string
	warn   sync.Once
}

func (i *idempotency) handle(msg *message.Message, next message.HandlerFunc) ([]*message.Message, error) {
	key, err := i.key(msg)
	if err != nil {
		return nil, err
	}
	token, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("middleware: idempotency: make a token: %w", err)
	}
	ctx := msg.Context()
	c := &claim{store: i.Store, ctx: ctx, key: key, token: token.String()}
	started, done, err := c.begin(i.Lease)
	switch {
	case err != nil:
		// It may be held all the same; then the next attempt would wait for it.
		return nil, c.abort(fmt.Errorf("middleware: idempotency: claim %q: %w", key, opaque(err)))
	case done:
		return nil, nil
	case !started:
		return nil, events.RetryAfter(i.busyDelay(ctx), fmt.Errorf("%w: %q", ErrInProgress, key))
	}
	return i.run(c, msg, next)
}

// run runs the handler under a claim, and concludes the claim however it ends.
func (i *idempotency) run(c *claim, msg *message.Message, next message.HandlerFunc) (produced []*message.Message, err error) {
	concluded := false
	defer func() {
		// A panic, or runtime.Goexit, goes on as it is: whoever recovers it
		// wants the stack. The claim expires if it cannot be dropped.
		if !concluded {
			_ = c.abort(nil)
		}
	}()
	produced, err = next(msg)
	if err == nil && len(produced) == 0 {
		err = c.done(i.Keep)
		concluded = true
		return nil, err
	}
	if err == nil {
		i.warn.Do(func() {
			i.Logger.WarnContext(c.ctx, "a handler returned messages: its events are not marked as done, and duplicates of them run it again: publish inside the handler instead",
				"scope", i.Scope, "type", msg.Metadata[events.MetadataType], "event", msg.UUID)
		})
	}
	err = c.abort(err)
	concluded = true
	if err != nil {
		return nil, err
	}
	return produced, nil
}

func (i *idempotency) key(msg *message.Message) (key string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("middleware: idempotency: Key: %w", &events.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	if key = i.Key(msg); key == "" {
		return "", events.Permanent(ErrNoKey)
	}
	return i.prefix + key, nil
}

// busyDelay doubles with the attempt. Lease is then over within few more than
// eight deliveries after the doubling ends.
func (i *idempotency) busyDelay(ctx context.Context) time.Duration {
	delay, most := i.BusyDelay, max(i.BusyDelay, i.Lease/8)
	if d, can := transport.DeliveryFromContext(ctx); d != nil && can.Attempts {
		for n := 1; n < d.Attempt && delay < most; n++ {
			delay *= 2
		}
	}
	return min(delay, most)
}
