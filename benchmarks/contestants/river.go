package contestants

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/logistically/events/benchmarks/harness"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// RiverSQLite is a job queue in an SQL database, here a file.
func RiverSQLite() harness.Contestant {
	return harness.Contestant{
		Name:    "river sqlite",
		Kind:    harness.Peer,
		Library: libraryVersion("github.com/riverqueue/river"),
		Least:   3000, // It has hundreds of jobs worked on before it notes the first as completed.
		Limits: map[string]string{
			"fanout":   "is a queue: each job goes to one worker, there are no groups",
			"recovery": "looks for jobs of crashed clients every 30 s, which cannot be configured",
			"idle":     "has no server to send commands to",
			"stored":   "keeps nothing in Redis",
			"memory":   "runs no more than 10 000 jobs at a time",
		},
		Open: openRiver,
	}
}

// bodyArgs is a job: River stores it as JSON, so that the body becomes base64.
type bodyArgs struct {
	Body []byte `json:"body"`
}

func (bodyArgs) Kind() string { return "bench.event" }

type bodyWorker struct {
	river.WorkerDefaults[bodyArgs]
	handle func(body []byte) error
}

func (w *bodyWorker) Work(_ context.Context, job *river.Job[bodyArgs]) error {
	return w.handle(job.Args.Body)
}

func (*bodyWorker) NextRetry(*river.Job[bodyArgs]) time.Time { return time.Now().Add(retryDelay) }

type riverSystem struct {
	load   harness.Load
	db     *sql.DB
	client *river.Client[*sql.Tx] // only inserts
}

func openRiver(ctx context.Context, env harness.Env) (harness.System, error) {
	// A write-ahead log, synced at checkpoints: as safe as Redis with its default appendfsync.
	db, err := sql.Open("sqlite", "file:"+filepath.Join(env.Dir, "river.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	db.SetMaxOpenConns(1) // as River says: SQLite has one writer
	client, err := prepareRiver(ctx, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &riverSystem{load: env.Load, db: db, client: client}, nil
}

func prepareRiver(ctx context.Context, db *sql.DB) (*river.Client[*sql.Tx], error) {
	quiet := slog.New(slog.DiscardHandler)
	driver := riversqlite.New(db)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, fmt.Errorf("make River's migrator: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("make River's tables: %w", err)
	}
	client, err := river.NewClient(driver, &river.Config{Logger: quiet})
	if err != nil {
		return nil, fmt.Errorf("make River's client: %w", err)
	}
	return client, nil
}

func (s *riverSystem) Publish(ctx context.Context, bodies [][]byte) error {
	if len(bodies) == 1 {
		if _, err := s.client.Insert(ctx, bodyArgs{bodies[0]}, nil); err != nil {
			return fmt.Errorf("insert a job: %w", err)
		}
		return nil
	}
	jobs := make([]river.InsertManyParams, len(bodies))
	for i, body := range bodies {
		jobs[i].Args = bodyArgs{body}
	}
	if _, err := s.client.InsertMany(ctx, jobs); err != nil {
		return fmt.Errorf("insert %d jobs: %w", len(jobs), err)
	}
	return nil
}

// Consume ignores the group. The context of a handler ends with ctx.
func (s *riverSystem) Consume(ctx context.Context, _ string, handle harness.Handler) error {
	jobs := river.NewWorkers()
	worker := &bodyWorker{handle: func(body []byte) error { return handle(ctx, body) }}
	if err := river.AddWorkerSafely(jobs, worker); err != nil {
		return fmt.Errorf("register River's worker: %w", err)
	}
	client, err := river.NewClient(riversqlite.New(s.db), &river.Config{
		Logger:  slog.New(slog.DiscardHandler),
		Workers: jobs,
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: min(workers(s.load), river.QueueNumWorkersMax)}},
		// The defaults of 100 ms and 1 s would be all that is measured.
		PollOnly: true, FetchCooldown: time.Millisecond, FetchPollInterval: riverPoll,
	})
	if err != nil {
		return fmt.Errorf("make River's client: %w", err)
	}
	working := context.WithoutCancel(ctx) // Stop ends it: jobs that run are completed first.
	if err := client.Start(working); err != nil {
		return fmt.Errorf("start River's client: %w", err)
	}
	<-ctx.Done()
	stopping, cancel := context.WithTimeout(working, 10*time.Second)
	defer cancel()
	if err := client.Stop(stopping); err != nil {
		return fmt.Errorf("stop River's client: %w", err)
	}
	return nil
}

// riverPoll is how often an empty queue is looked at, as with asynq.
const riverPoll = 10 * time.Millisecond

func (s *riverSystem) Stored(ctx context.Context) (n int, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT count(*) FROM river_job WHERE state = 'available'`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the jobs: %w", err)
	}
	return n, nil
}

func (s *riverSystem) Close() error { return s.db.Close() }
