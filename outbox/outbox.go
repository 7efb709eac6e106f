// Package outbox publishes events together with what a service writes to its SQL
// database: they are written into a table within the service's own transaction, and a
// [Forwarder] publishes them from there, in order, at least once. Any database/sql
// driver of a [Dialect] will do; the package links none.
//
//	box, err := outbox.New(outbox.Config{Dialect: outbox.Postgres})
//	…
//	tx, err := db.BeginTx(ctx, nil)
//	…
//	err = box.Write(ctx, tx, "user-events", msg) // or box.Publisher(tx), for an events.Publisher
//	err = tx.Commit()
package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/sqldialect"
	"github.com/logistically/events/transport"
)

// Dialect is a sort of database.
type Dialect = sqldialect.Dialect

// The dialects.
const (
	Postgres = sqldialect.Postgres
	SQLite   = sqldialect.SQLite
)

// Execer is what executes SQL: the *sql.Tx of your transaction.
type Execer = sqldialect.Execer

// DefaultTable is the default of [Config.Table].
const DefaultTable = "event_outbox"

// Config configures [New].
type Config struct {
	// Dialect is the sort of database. Required.
	Dialect Dialect
	// Table holds the events that are not forwarded yet. Beside it is one with
	// "_lease" after its name, which says who forwards them. Empty means DefaultTable.
	Table string
}

// Outbox writes events into a table. It is safe for concurrent use.
type Outbox struct {
	cfg Config
}

// New returns an outbox, or an *events.ConfigError. It does no I/O.
func New(cfg Config) (*Outbox, error) {
	if cfg.Table == "" {
		cfg.Table = DefaultTable
	}
	if err := cfg.Dialect.Check("outbox.Config", cfg.Table); err != nil {
		return nil, err
	}
	return &Outbox{cfg}, nil
}

// Schema returns the statements that make the tables, where they do not exist, for
// your migrations.
func (o *Outbox) Schema() []string {
	return []string{
		o.sql("CREATE TABLE IF NOT EXISTS {table} (id {serial}, topic VARCHAR(512) NOT NULL, uuid VARCHAR(512) NOT NULL, " +
			"metadata TEXT NOT NULL, payload {bytes}, written_at BIGINT NOT NULL)"),
		o.sql("CREATE TABLE IF NOT EXISTS {table}_lease (id INTEGER PRIMARY KEY, holder VARCHAR(64) NOT NULL, expires_at BIGINT NOT NULL)"),
		o.sql("INSERT INTO {table}_lease (id, holder, expires_at) VALUES (1, '', 0) ON CONFLICT (id) DO NOTHING"),
	}
}

// Setup executes [Outbox.Schema].
func (o *Outbox) Setup(ctx context.Context, db *sql.DB) error {
	if err := sqldialect.Exec(ctx, db, o.Schema()...); err != nil {
		return fmt.Errorf("outbox: set up: %w", err)
	}
	return nil
}

func (o *Outbox) sql(query string) string { return o.cfg.Dialect.SQL(o.cfg.Table, query) }

// mostRows is how many messages one statement writes.
const mostRows = 100

// Write writes messages for a topic. They are forwarded once the transaction is
// committed, in the order in which they were written; of two transactions, the one
// that commits last may have written first, and then its messages may be forwarded
// last. An error means that the transaction is of no use any more: roll it back. A
// topic that transport.CheckTopic refuses is an error that wraps its.
func (o *Outbox) Write(ctx context.Context, tx Execer, topic string, msgs ...*message.Message) error {
	if err := transport.CheckTopic(topic); err != nil {
		return fmt.Errorf("outbox: write: %w", err)
	}
	for len(msgs) > 0 {
		n := min(len(msgs), mostRows)
		if err := o.write(ctx, tx, topic, msgs[:n]); err != nil {
			return fmt.Errorf("outbox: write %d messages for %q: %w", n, topic, err)
		}
		msgs = msgs[n:]
	}
	return nil
}

func (o *Outbox) write(ctx context.Context, tx Execer, topic string, msgs []*message.Message) error {
	args := make([]any, 0, 4*len(msgs))
	for _, msg := range msgs {
		if msg == nil {
			return errors.New("a message is nil")
		}
		metadata, err := json.Marshal(msg.Metadata)
		if err != nil {
			return fmt.Errorf("message %s: %w", msg.UUID, err)
		}
		args = append(args, topic, msg.UUID, string(metadata), []byte(msg.Payload))
	}
	rows := strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?, {now}), ", len(msgs)), ", ")
	_, err := tx.ExecContext(ctx, o.sql("INSERT INTO {table} (topic, uuid, metadata, payload, written_at) VALUES "+rows), args...)
	return err
}

// Publisher returns a message.Publisher that writes into the outbox within a
// transaction, such as for an events.Publisher. Messages are written under the
// context of the first of a call. Closing it does nothing.
func (o *Outbox) Publisher(tx Execer) message.Publisher { return &publisher{o, tx} }

type publisher struct {
	outbox *Outbox
	tx     Execer
}

func (p *publisher) Publish(topic string, msgs ...*message.Message) error {
	ctx := context.Background()
	if len(msgs) > 0 && msgs[0] != nil {
		ctx = msgs[0].Context()
	}
	return p.outbox.Write(ctx, p.tx, topic, msgs...)
}

func (p *publisher) Close() error { return nil }
