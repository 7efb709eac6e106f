package integration

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(envMode); mode != "" {
		if err := runProcess(mode, os.Getenv(envRedis), os.Getenv(envDatabase)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	scaled()
	goleak.VerifyTestMain(m)
}

const effectProcesses = 3

// effectEvents and effectKills are a fifth of that with -short: make test-effects has
// it all.
var effectEvents, effectKills = 10_000, 50

func scaled() {
	if testing.Short() {
		effectEvents, effectKills = 2000, 10
	}
}

// Each handler publishes two events and writes one row, in processes of which many are
// killed at random. Whatever the way, each event and each row is there once.
func TestEffectsHappenOnceThoughProcessesAreKilled(t *testing.T) {
	for _, mode := range []string{atomicPath, sqlPath, outboxPath} {
		t.Run(mode, func(t *testing.T) {
			s := runEffects(t, mode)
			rows, events := s.rows(), s.events(map[string]string{atomicPath: topicOut}[mode])
			if len(rows) != effectEvents || len(events) != 2*effectEvents {
				t.Errorf("%d different rows and %d different events, want %d and %d", len(rows), len(events), effectEvents, 2*effectEvents)
			}
			if twice(rows)+twice(events) > 0 {
				t.Errorf("%d rows and %d events are there more than once", twice(rows), twice(events))
			}
			if n := s.marks(); mode != sqlPath && n != effectEvents {
				t.Errorf("%d events are marked: others were acked without", n)
			}
			t.Logf("%d rows and %d events, each once; events went through topic %q %d times too often", len(rows), len(events), topicOut, extra(s.events(topicOut)))
		})
	}
}

// The same without any of it has duplicates: the test above can fail.
func TestWithoutIdempotencyEffectsHappenTwice(t *testing.T) {
	s := runEffects(t, noPath)
	rows, events := s.rows(), s.events(topicOut)
	if len(rows) != effectEvents || len(events) != 2*effectEvents {
		t.Errorf("%d different rows and %d different events: something is lost", len(rows), len(events))
	}
	if twice(rows) == 0 || twice(events) == 0 {
		t.Errorf("%d rows and %d events are there more than once: the kills have hit nothing", twice(rows), twice(events))
	}
	t.Logf("%d rows and %d events are there more than once", twice(rows), twice(events))
}

// effectsRun is a server, a database and processes that work on them.
type effectsRun struct {
	t         *testing.T
	client    *goredis.Client
	db        *sql.DB
	rnd       *rand.Rand
	env       []string
	processes []*exec.Cmd
}

func runEffects(t *testing.T, mode string) *effectsRun {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	server := redisserver.New(t)
	database := filepath.Join(t.TempDir(), "shop.db")
	s := &effectsRun{
		t: t, client: goredis.NewClient(&goredis.Options{Addr: server.Addr}), rnd: rand.New(rand.NewPCG(seed, 0)),
		env: append(os.Environ(), envMode+"="+mode, envRedis+"="+server.Addr, envDatabase+"="+database),
	}
	t.Cleanup(func() { must(t, s.client.Close()) })
	db, err := openDatabase(database)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	s.db = db
	s.setUp()
	t.Cleanup(s.endAll)
	for range effectProcesses {
		s.start()
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	s.killAtRandom(ctx)
	s.waitSettled(ctx, mode)
	t.Logf("%d events, %d processes killed, %v", effectEvents, effectKills, time.Since(begun).Round(time.Millisecond))
	s.endAll()
	return s
}

func (s *effectsRun) setUp() {
	s.t.Helper()
	marks, box, err := effects()
	must(s.t, err)
	_, err = s.db.Exec("CREATE TABLE orders (event TEXT NOT NULL)")
	must(s.t, err)
	must(s.t, marks.Setup(s.t.Context(), s.db))
	must(s.t, box.Setup(s.t.Context(), s.db))
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: s.client})
	must(s.t, err)
	for n := 0; n < effectEvents; {
		var msgs []*message.Message
		for range 1000 {
			msgs = append(msgs, message.NewMessage(fmt.Sprintf("event-%d", n), []byte(`{"n":1}`)))
			n++
		}
		must(s.t, pub.Publish(topicIn, msgs...))
	}
}

func (s *effectsRun) start() {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = s.env, os.Stderr
	must(s.t, cmd.Start())
	s.processes = append(s.processes, cmd)
}

// killAtRandom kills processes that are at work, spread over the whole run.
func (s *effectsRun) killAtRandom(ctx context.Context) {
	s.t.Helper()
	at := make([]int, effectKills)
	for i := range at {
		at[i] = s.rnd.IntN(effectEvents * 95 / 100)
	}
	slices.Sort(at)
	for _, progress := range at {
		s.eventually(ctx, fmt.Sprintf("%d rows, to kill a process", progress), func() bool {
			var n int
			err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(rowid), 0) FROM orders").Scan(&n)
			return err == nil && n >= progress && s.killOne(ctx)
		})
	}
}

// killOne kills one of the processes that have handled something, and starts another.
func (s *effectsRun) killOne(ctx context.Context) bool {
	busy, err := s.client.SMembers(ctx, busyKey).Result()
	if err != nil {
		return false
	}
	for _, i := range s.rnd.Perm(len(s.processes)) {
		cmd := s.processes[i]
		if !slices.Contains(busy, strconv.Itoa(cmd.Process.Pid)) {
			continue
		}
		must(s.t, cmd.Process.Kill())
		_ = cmd.Wait() // It says that it was killed.
		s.processes = slices.Delete(s.processes, i, i+1)
		s.start()
		return true
	}
	return false
}

// waitSettled waits until nothing is left to be done.
func (s *effectsRun) waitSettled(ctx context.Context, mode string) {
	s.t.Helper()
	inspector, err := redis.NewInspector(redis.InspectorConfig{Client: s.client})
	must(s.t, err)
	s.eventually(ctx, "what came in is settled", func() bool { return settled(ctx, inspector, topicIn) })
	if mode != sqlPath && mode != outboxPath {
		return
	}
	s.eventually(ctx, "the outbox is empty", func() bool {
		var left int
		err := s.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM event_outbox").Scan(&left)
		return err == nil && left == 0
	})
	s.eventually(ctx, "what went out is passed on", func() bool { return settled(ctx, inspector, topicOut) })
}

func settled(ctx context.Context, inspector *redis.Inspector, topic string) bool {
	info, err := inspector.Topic(ctx, topic)
	if err != nil || len(info.Groups) == 0 {
		return false
	}
	for _, g := range info.Groups {
		if g.Lag.Entries+g.Pending+g.Retries+g.Delayed > 0 {
			return false
		}
	}
	return true
}

func (s *effectsRun) eventually(ctx context.Context, what string, is func() bool) {
	s.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.t.Fatalf("still waiting for: %s", what)
		}
	}
}

// endAll asks the processes to end, and waits for them.
func (s *effectsRun) endAll() {
	for _, cmd := range s.processes {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			s.t.Error(err)
		}
	}
	for _, cmd := range s.processes {
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("a process did not end well: %v", err)
		}
	}
	s.processes = nil
}

// rows counts the rows of each event.
func (s *effectsRun) rows() map[string]int {
	s.t.Helper()
	counts := map[string]int{}
	rows, err := s.db.Query("SELECT event FROM orders")
	must(s.t, err)
	for rows.Next() {
		var event string
		must(s.t, rows.Scan(&event))
		counts[event]++
	}
	must(s.t, rows.Err())
	must(s.t, rows.Close())
	return counts
}

// events counts the events of each id in a topic, the last one if none is named.
func (s *effectsRun) events(topic string) map[string]int {
	s.t.Helper()
	if topic == "" {
		topic = topicFinal
	}
	counts := map[string]int{}
	entries, err := s.client.XRange(s.t.Context(), topic, "-", "+").Result()
	must(s.t, err)
	for _, e := range entries {
		msg, err := redis.Decode(e.Values)
		must(s.t, err)
		counts[msg.UUID]++
	}
	return counts
}

// marks counts the events that came in and are marked on Redis.
func (s *effectsRun) marks() (n int) {
	s.t.Helper()
	for i := range effectEvents {
		value, err := s.client.Get(s.t.Context(), fmt.Sprintf("idempotency:shop:event-%d", i)).Result()
		if err != nil && !errors.Is(err, goredis.Nil) {
			s.t.Fatal(err)
		}
		if strings.HasPrefix(value, "d") {
			n++
		}
	}
	return n
}

func twice(counts map[string]int) (n int) {
	for _, times := range counts {
		if times > 1 {
			n++
		}
	}
	return n
}

func extra(counts map[string]int) (n int) {
	for _, times := range counts {
		n += times - 1
	}
	return n
}
