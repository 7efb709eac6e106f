package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/middleware/sqlonce"
	"github.com/logistically/events/outbox"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"
)

// A process of the test below is this test binary with these set.
const (
	envMode     = "EVENTS_EFFECTS_MODE"
	envRedis    = "EVENTS_EFFECTS_REDIS"
	envDatabase = "EVENTS_EFFECTS_DATABASE"
)

// Ways to have effects once, and none.
const (
	atomicPath = "atomic" // middleware.Idempotency on Redis; what is returned goes out with the ack
	sqlPath    = "sql"    // marks in the database alone; what is returned is kept with them
	outboxPath = "outbox" // marks in the database, events in its outbox; middleware.Idempotency, whose acks publish nothing
	noPath     = "none"
)

const (
	topicIn, topicOut, topicFinal = "in", "out", "final"
	busyKey                       = "busy" // ids of processes that have handled something
)

func openDatabase(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_txlock=immediate")
	if err == nil {
		db.SetMaxOpenConns(2)
	}
	return db, err
}

// process is a consumer process.
type process struct {
	mode   string
	client *goredis.Client
	db     *sql.DB
	pub    *redis.Publisher
	marks  *sqlonce.Marks
	box    *outbox.Outbox
	logger *slog.Logger
	busy   atomic.Bool
}

// runProcess consumes until it is told to end, or killed.
func runProcess(mode, addr, database string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p := &process{mode: mode, client: goredis.NewClient(&goredis.Options{Addr: addr}), logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	defer func() { err = errors.Join(err, p.client.Close()) }()
	if p.db, err = openDatabase(database); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.db.Close()) }()
	if p.pub, err = redis.NewPublisher(redis.PublisherConfig{Client: p.client}); err != nil {
		return err
	}
	if p.marks, p.box, err = effects(); err != nil {
		return err
	}
	jobs, err := p.jobs()
	if err != nil {
		return err
	}
	ended := make(chan error, len(jobs))
	for _, job := range jobs {
		go func() { ended <- job(ctx) }()
	}
	for range jobs {
		err = errors.Join(err, <-ended)
		stop()
	}
	return err
}

func effects() (*sqlonce.Marks, *outbox.Outbox, error) {
	marks, err := sqlonce.New(sqlonce.Config{Dialect: sqlonce.SQLite, Scope: "shop"})
	if err != nil {
		return nil, nil, err
	}
	box, err := outbox.New(outbox.Config{Dialect: outbox.SQLite})
	return marks, box, err
}

// jobs is what a process does in each mode. Where events go out at least once, an
// idempotent consumer passes them on.
func (p *process) jobs() (jobs []func(context.Context) error, err error) {
	add := func(job func(context.Context) error, failed error) {
		jobs, err = append(jobs, job), errors.Join(err, failed)
	}
	switch p.mode {
	case atomicPath:
		add(p.consume("shop", topicIn, topicOut, p.marks.Handler(p.db, p.rowAndEvents), true))
	case sqlPath:
		add(p.consume("shop", topicIn, topicOut, p.marks.Handler(p.db, p.rowAndEvents), false))
		add(p.consume("witness", topicOut, topicFinal, pass, true))
	case outboxPath:
		forwarder, failed := p.box.Forwarder(outbox.ForwarderConfig{DB: p.db, Publisher: p.pub, Poll: 10 * time.Millisecond, Lease: time.Second, Logger: p.logger})
		add(func(ctx context.Context) error { return forwarder.Run(ctx) }, failed)
		add(p.consume("shop", topicIn, topicOut, p.marks.Handler(p.db, p.rowAndOutbox), true))
		add(p.consume("witness", topicOut, topicFinal, pass, true))
	case noPath:
		add(p.consume("shop", topicIn, topicOut, p.unmarked, false))
	default:
		err = fmt.Errorf("no mode is called %q", p.mode)
	}
	return jobs, err
}

// consume returns what runs a router from one topic to another.
func (p *process) consume(group, from, to string, fn message.HandlerFunc, once bool) (func(context.Context) error, error) {
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: p.client, Group: group, Lease: time.Second, Prefetch: 100, Block: 100 * time.Millisecond, Logger: p.logger})
	if err != nil {
		return nil, err
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{from}, Concurrency: 8, Logger: p.logger, RetryDelay: func(int) time.Duration { return 50 * time.Millisecond }})
	if err != nil {
		return nil, err
	}
	if once {
		store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: p.client})
		if err != nil {
			return nil, err
		}
		idempotency, err := middleware.Idempotency(middleware.IdempotencyConfig{Store: store, Scope: group, BusyDelay: 50 * time.Millisecond, Logger: p.logger})
		if err != nil {
			return nil, err
		}
		r.Use(idempotency)
	}
	return r.Run, r.HandleAndPublish("**", fn, p.pub, to)
}

// pass returns an event under its own id.
func pass(msg *message.Message) ([]*message.Message, error) {
	return []*message.Message{msg.Copy()}, nil
}

func (p *process) row(ctx context.Context, tx *sql.Tx, msg *message.Message) error {
	if p.busy.CompareAndSwap(false, true) {
		if err := p.client.SAdd(ctx, busyKey, strconv.Itoa(os.Getpid())).Err(); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO orders (event) VALUES (?)", msg.UUID)
	return err
}

func produced(msg *message.Message) []*message.Message {
	return []*message.Message{message.NewMessage(msg.UUID+"/a", []byte("{}")), message.NewMessage(msg.UUID+"/b", []byte("{}"))}
}

func (p *process) rowAndEvents(ctx context.Context, tx *sql.Tx, msg *message.Message) ([]*message.Message, error) {
	return produced(msg), p.row(ctx, tx, msg)
}

func (p *process) rowAndOutbox(ctx context.Context, tx *sql.Tx, msg *message.Message) ([]*message.Message, error) {
	if err := p.row(ctx, tx, msg); err != nil {
		return nil, err
	}
	return nil, p.box.Write(ctx, tx, topicOut, produced(msg)...)
}

// unmarked does the same work as the others, and nothing to have it done once.
func (p *process) unmarked(msg *message.Message) ([]*message.Message, error) {
	tx, err := p.db.BeginTx(msg.Context(), nil)
	if err != nil {
		return nil, err
	}
	if err := p.row(msg.Context(), tx, msg); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return produced(msg), tx.Commit()
}
