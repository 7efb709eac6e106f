package outbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// Defaults of [ForwarderConfig].
const (
	DefaultPoll  = time.Second
	DefaultBatch = 100
	DefaultLease = 30 * time.Second
)

// ForwarderConfig configures [Outbox.Forwarder].
type ForwarderConfig struct {
	// DB is the database. Required; never closed here.
	DB *sql.DB
	// Publisher is where events go. Required; never closed here. Its Publish must
	// return nil only for what is stored.
	Publisher message.Publisher
	// Poll is how often an empty outbox is looked at; see [Forwarder.Wake]. Zero
	// means DefaultPoll, 1 s.
	Poll time.Duration
	// Batch is how many events are forwarded at a time. Zero means DefaultBatch, 100.
	Batch int
	// Lease is for how long a forwarder that is silent keeps others from taking
	// over. It must be longer than publishing a batch may take. Zero means
	// DefaultLease, 30 s.
	Lease time.Duration
	// Logger gets what failed and is tried again. Nil means slog.Default().
	Logger *slog.Logger
}

// Forwarder publishes what is in an outbox and removes it from there. Any number may
// run: one at a time forwards, under a lease in the database, by the database's clock,
// and another one takes over when it ends or its lease runs out. So events of one
// transaction, and of transactions one after the other, are published in order.
//
// An event is published again if the process dies, or the database fails, after it
// was published and before it was removed: under the same id, so that a consumer can
// tell (middleware.Idempotency). It is safe for concurrent use.
type Forwarder struct {
	cfg                    ForwarderConfig
	outbox                 *Outbox
	holder                 string
	wake                   chan struct{}
	acquire, release, read string
}

// Forwarder returns a forwarder, or an *events.ConfigError. It does no I/O.
func (o *Outbox) Forwarder(cfg ForwarderConfig) (*Forwarder, error) {
	bad := func(field string, value any, problem, remedy string) (*Forwarder, error) {
		return nil, &events.ConfigError{Field: "outbox.ForwarderConfig." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	switch {
	case cfg.DB == nil:
		return bad("DB", nil, "is nil", "pass what sql.Open returned")
	case nilcheck.IsNil(cfg.Publisher):
		return bad("Publisher", nil, "is nil", "pass a publisher, such as redis.NewPublisher's")
	case cfg.Poll < 0:
		return bad("Poll", cfg.Poll, "is negative", "set a duration, or 0 for 1 s")
	case cfg.Batch < 0:
		return bad("Batch", cfg.Batch, "is negative", "set a number of events, or 0 for 100")
	case cfg.Lease < 0 || cfg.Lease > 0 && cfg.Lease < 100*time.Millisecond:
		return bad("Lease", cfg.Lease, "is below 100 ms", "set a duration that is longer than publishing a batch takes, or 0 for 30 s")
	}
	if cfg.Poll == 0 {
		cfg.Poll = DefaultPoll
	}
	if cfg.Batch == 0 {
		cfg.Batch = DefaultBatch
	}
	if cfg.Lease == 0 {
		cfg.Lease = DefaultLease
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Forwarder{
		cfg: cfg, outbox: o, holder: rand.Text(), wake: make(chan struct{}, 1),
		acquire: o.sql("UPDATE {table}_lease SET holder = ?, expires_at = {now} + ? WHERE id = 1 AND (holder = ? OR expires_at <= {now})"),
		release: o.sql("UPDATE {table}_lease SET expires_at = 0 WHERE id = 1 AND holder = ?"),
		read:    o.sql("SELECT id, topic, uuid, metadata, payload FROM {table} ORDER BY id LIMIT ?"),
	}, nil
}

// Wake makes the forwarder look at once, if it is the one that forwards. Call it
// after a commit, so that an event need not wait for Poll. It does not wait.
func (f *Forwarder) Wake() {
	select {
	case f.wake <- struct{}{}:
	default: // It will look.
	}
}

// Run forwards until ctx ends, and then returns nil. What fails is logged and tried
// again, Poll later.
func (f *Forwarder) Run(ctx context.Context) error {
	defer f.let(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-f.wake:
		case <-ctx.Done():
			return nil
		}
		for more := true; more && ctx.Err() == nil; {
			n, err := f.Forward(ctx)
			if err != nil && ctx.Err() == nil {
				f.cfg.Logger.Error("outbox: events are not forwarded, and will be tried again", "error", err)
			}
			more = err == nil && n == f.cfg.Batch
		}
		timer.Reset(f.cfg.Poll)
	}
}

// let lets another forwarder take over at once.
func (f *Forwarder) let(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if _, err := f.cfg.DB.ExecContext(ctx, f.release, f.holder); err != nil {
		f.cfg.Logger.Warn("outbox: the lease stays until it runs out", "error", err)
	}
}

// row is an event in the outbox.
type row struct {
	id    int64
	topic string
	msg   *message.Message
}

// Forward forwards up to Batch events, and returns how many. It forwards none while
// another forwarder holds the lease. [Forwarder.Run] calls it.
func (f *Forwarder) Forward(ctx context.Context) (forwarded int, err error) {
	held, err := f.hold(ctx)
	if err != nil || !held {
		return 0, err
	}
	rows, err := f.rows(ctx)
	if err != nil {
		return 0, fmt.Errorf("outbox: read: %w", err)
	}
	for begun := time.Now(); len(rows) > 0; {
		if time.Since(begun) > f.cfg.Lease/2 {
			if held, err := f.hold(ctx); err != nil || !held {
				return forwarded, err
			}
			begun = time.Now()
		}
		n := 1
		for n < len(rows) && rows[n].topic == rows[0].topic {
			n++
		}
		done, err := f.publish(ctx, rows[:n])
		forwarded += done
		if err != nil {
			return forwarded, err
		}
		rows = rows[n:]
	}
	return forwarded, nil
}

// hold takes or renews the lease.
func (f *Forwarder) hold(ctx context.Context) (bool, error) {
	result, err := f.cfg.DB.ExecContext(ctx, f.acquire, f.holder, f.cfg.Lease.Milliseconds(), f.holder)
	if err != nil {
		return false, fmt.Errorf("outbox: take the lease: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

func (f *Forwarder) rows(ctx context.Context) (all []row, err error) {
	rows, err := f.cfg.DB.QueryContext(ctx, f.read, f.cfg.Batch)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r row
		var uuid, metadata string
		var payload []byte
		if err := rows.Scan(&r.id, &r.topic, &uuid, &metadata, &payload); err != nil {
			return nil, err
		}
		r.msg = message.NewMessage(uuid, payload)
		if err := json.Unmarshal([]byte(metadata), &r.msg.Metadata); err != nil {
			return nil, fmt.Errorf("metadata of row %d: %w", r.id, err)
		}
		r.msg.SetContext(ctx)
		all = append(all, r)
	}
	return all, rows.Err()
}

// publish publishes events of one topic and removes those that are stored. Where one
// fails, those after it that are not stored yet wait for it.
func (f *Forwarder) publish(ctx context.Context, rows []row) (n int, err error) {
	msgs := make([]*message.Message, len(rows))
	for i, r := range rows {
		msgs[i] = r.msg
	}
	err = f.cfg.Publisher.Publish(rows[0].topic, msgs...)
	failed, known := events.FailedOf(err, msgs)
	if err != nil {
		err = fmt.Errorf("outbox: publish to %q: %w", rows[0].topic, err)
		if !known {
			return 0, err
		}
	}
	var ids []any
	for i, r := range rows {
		if failed[i] == nil {
			ids = append(ids, r.id)
		}
	}
	return len(ids), errors.Join(err, f.remove(ctx, ids))
}

// remove removes what is stored elsewhere by now, even if ctx has ended meanwhile.
func (f *Forwarder) remove(ctx context.Context, ids []any) error {
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	list := strings.TrimSuffix(strings.Repeat("?, ", len(ids)), ", ")
	if _, err := f.cfg.DB.ExecContext(ctx, f.outbox.sql("DELETE FROM {table} WHERE id IN ("+list+")"), ids...); err != nil {
		return fmt.Errorf("outbox: remove %d events, which will be published again: %w", len(ids), err)
	}
	return nil
}

const removeTimeout = 5 * time.Second
