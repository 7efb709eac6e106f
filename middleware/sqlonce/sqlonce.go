// Package sqlonce makes what a handler writes to an SQL database happen once for
// each event: it marks the event in the handler's own transaction. Either both are
// committed or neither, whenever the process dies. Any database/sql driver of a
// [Dialect] will do; the package links none.
package sqlonce

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/packed"
	"github.com/logistically/events/internal/sqldialect"
)

// Dialect is a sort of database.
type Dialect = sqldialect.Dialect

// The dialects.
const (
	Postgres = sqldialect.Postgres
	SQLite   = sqldialect.SQLite
)

// DefaultTable is the default of [Config.Table].
const DefaultTable = "event_marks"

var (
	// ErrNoKey says that a message has nothing to be recognised by.
	ErrNoKey = errors.New("sqlonce: the message has no key: publish it with a UUID, or set Config.Key to something that it has")

	// ErrPayloadMismatch says that an event has the key of another one.
	ErrPayloadMismatch = errors.New("sqlonce: another payload was handled under this key: give each event an id of its own, or mend Config.Key")
)

// Config configures [New].
type Config struct {
	// Dialect is the sort of database. Required.
	Dialect Dialect
	// Table holds the marks; see [Marks.Schema]. Empty means DefaultTable.
	Table string
	// Scope tells apart handlers that mark the same events in one table. Required:
	// the consumer group, or the name of the handler.
	Scope string
	// Key says by what an event is recognised. It must be safe for concurrent use.
	// Nil means the message's UUID, which is the event's id.
	Key func(*message.Message) string
}

// Marks are the marks of one handler's events. It is safe for concurrent use.
type Marks struct {
	cfg                          Config
	insert, read, update, remove string
}

// New returns marks, or an *events.ConfigError. It does no I/O.
func New(cfg Config) (*Marks, error) {
	if cfg.Table == "" {
		cfg.Table = DefaultTable
	}
	if err := cfg.Dialect.Check("sqlonce.Config", cfg.Table); err != nil {
		return nil, err
	}
	if cfg.Scope == "" {
		return nil, &events.ConfigError{Field: "sqlonce.Config.Scope", Value: "", Problem: "is empty", Remedy: "set it to the consumer group, so that groups do not share marks"}
	}
	if cfg.Key == nil {
		cfg.Key = func(msg *message.Message) string { return msg.UUID }
	}
	text := func(query string) string { return cfg.Dialect.SQL(cfg.Table, query) }
	return &Marks{
		cfg:    cfg,
		insert: text("INSERT INTO {table} (scope, event_key, fingerprint, marked_at) VALUES (?, ?, ?, {now}) ON CONFLICT (scope, event_key) DO NOTHING"),
		read:   text("SELECT fingerprint, produced FROM {table} WHERE scope = ? AND event_key = ?"),
		update: text("UPDATE {table} SET produced = ? WHERE scope = ? AND event_key = ?"),
		remove: text("DELETE FROM {table} WHERE scope = ? AND marked_at < {now} - ?"),
	}, nil
}

// Schema returns the statements that make the table and its index, where they do
// not exist, for your migrations.
func (m *Marks) Schema() []string {
	return []string{
		m.cfg.Dialect.SQL(m.cfg.Table, "CREATE TABLE IF NOT EXISTS {table} (scope VARCHAR(255) NOT NULL, event_key VARCHAR(512) NOT NULL, "+
			"fingerprint VARCHAR(64) NOT NULL, produced {bytes}, marked_at BIGINT NOT NULL, PRIMARY KEY (scope, event_key))"),
	}
}

// Setup executes [Marks.Schema].
func (m *Marks) Setup(ctx context.Context, db *sql.DB) error {
	if err := sqldialect.Exec(ctx, db, m.Schema()...); err != nil {
		return fmt.Errorf("sqlonce: set up: %w", err)
	}
	return nil
}

// Mark marks an event within a transaction of yours, and reports whether it is the
// first to do so. If it is not, the event was handled: write nothing. While another
// transaction has marked the event and is not committed, Mark waits for it.
//
// It fails permanently with [ErrNoKey], or with [ErrPayloadMismatch] if the key is
// marked with another payload.
func (m *Marks) Mark(ctx context.Context, tx *sql.Tx, msg *message.Message) (first bool, err error) {
	_, first, err = m.mark(ctx, tx, msg)
	return first, err
}

func (m *Marks) mark(ctx context.Context, tx *sql.Tx, msg *message.Message) (produced []byte, first bool, err error) {
	key := m.cfg.Key(msg)
	if key == "" {
		return nil, false, events.Permanent(ErrNoKey)
	}
	print := fingerprint(msg)
	result, err := tx.ExecContext(ctx, m.insert, m.cfg.Scope, key, print)
	if err != nil {
		return nil, false, fmt.Errorf("sqlonce: mark %q: %w", key, err)
	}
	n, err := result.RowsAffected()
	if err != nil || n > 0 {
		return nil, n > 0, err
	}
	var known string
	if err := tx.QueryRowContext(ctx, m.read, m.cfg.Scope, key).Scan(&known, &produced); err != nil {
		return nil, false, fmt.Errorf("sqlonce: read the mark of %q: %w", key, err)
	}
	if known != print {
		return nil, false, events.Permanent(fmt.Errorf("%w: %q", ErrPayloadMismatch, key))
	}
	return produced, false, nil
}

// Handler returns a handler that runs fn in a transaction with the mark of the event,
// and commits both. What fn returns is kept with the mark: a duplicate returns it
// again, under the same ids, without running fn, because the process may have died
// before it was published. An error of fn, or a panic, rolls everything back.
//
// Registered by HandleAndPublish inside middleware.Idempotency on Redis, rows and
// produced events both happen once. By itself produced events are published at
// least once. Where fn writes to an outbox instead, it returns none.
func (m *Marks) Handler(db *sql.DB, fn func(ctx context.Context, tx *sql.Tx, msg *message.Message) ([]*message.Message, error)) message.HandlerFunc {
	return func(msg *message.Message) (produced []*message.Message, err error) {
		ctx := msg.Context()
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return nil, fmt.Errorf("sqlonce: begin: %w", err)
		}
		defer func() {
			// After a commit it changes nothing. If it fails, the connection is
			// lost, and with it the transaction.
			_ = tx.Rollback()
		}()
		kept, first, err := m.mark(ctx, tx, msg)
		if err != nil {
			return nil, err
		}
		if !first {
			return unpack(kept)
		}
		if produced, err = fn(ctx, tx, msg); err != nil {
			return nil, err
		}
		if err := m.keep(ctx, tx, msg, produced); err != nil {
			return nil, err
		}
		if err := tx.Commit(); err != nil {
			return nil, fmt.Errorf("sqlonce: commit what the handler of %q wrote: %w", msg.UUID, err)
		}
		return produced, nil
	}
}

// keep puts produced messages beside the mark.
func (m *Marks) keep(ctx context.Context, tx *sql.Tx, msg *message.Message, produced []*message.Message) error {
	if len(produced) == 0 {
		return nil
	}
	kept, err := packed.Pack(produced)
	if err == nil {
		_, err = tx.ExecContext(ctx, m.update, kept, m.cfg.Scope, m.cfg.Key(msg))
	}
	if err != nil {
		return fmt.Errorf("sqlonce: keep what the handler of %q returned: %w", msg.UUID, err)
	}
	return nil
}

func unpack(kept []byte) ([]*message.Message, error) {
	produced, err := packed.Unpack(kept)
	if err != nil {
		return nil, fmt.Errorf("sqlonce: what was kept with the mark: %w", err)
	}
	return produced, nil
}

// Forget removes marks that are older than a time, by the server's clock, and returns
// how many. A duplicate of such an event runs its handler again, so let the time be
// longer than any event may be on its way, dead letters included. Call it now and then.
func (m *Marks) Forget(ctx context.Context, db *sql.DB, olderThan time.Duration) (int64, error) {
	result, err := db.ExecContext(ctx, m.remove, m.cfg.Scope, olderThan.Milliseconds())
	if err != nil {
		return 0, fmt.Errorf("sqlonce: forget old marks: %w", err)
	}
	return result.RowsAffected()
}

// fingerprint goes by the header's hash, which stays that of what was published
// when the payload is brought to another version.
func fingerprint(msg *message.Message) string {
	if hash := msg.Metadata[events.MetadataHash]; hash != "" && len(hash) <= 64 {
		return hash
	}
	sum := sha256.Sum256(msg.Payload)
	return hex.EncodeToString(sum[:])
}
