package redis_test

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// fixture is one server with a client, a publisher and a receiver on it.
type fixture struct {
	t      *testing.T
	server *redisserver.Server
	client *goredis.Client
	pub    *redis.Publisher
	log    *logBuffer
}

// logBuffer collects what is logged, from several goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

func newFixture(t *testing.T, settings ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, server: redisserver.New(t, settings...), log: &logBuffer{}}
	f.client = goredis.NewClient(&goredis.Options{Addr: f.server.Addr})
	t.Cleanup(func() { f.check(f.client.Close()) })
	var err error
	f.pub, err = redis.NewPublisher(redis.PublisherConfig{Client: f.client})
	f.check(err)
	return f
}

func (f *fixture) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// receiver opens a receiver of group g on topic t; it is closed with the test.
func (f *fixture) receiver(cfg redis.SubscriberConfig) transport.Receiver {
	f.t.Helper()
	return f.receiverOn(cfg, "t")
}

func (f *fixture) receiverOn(cfg redis.SubscriberConfig, topics ...string) transport.Receiver {
	f.t.Helper()
	r := f.open(cfg, topics...)
	f.t.Cleanup(func() { f.check(r.Close()) })
	return r
}

// open opens a receiver that is the test's to close.
func (f *fixture) open(cfg redis.SubscriberConfig, topics ...string) transport.Receiver {
	f.t.Helper()
	cfg.Group, cfg.Logger = "g", f.logger()
	if cfg.Client == nil {
		cfg.Client = f.client
	}
	if cfg.Block == 0 {
		cfg.Block = 100 * time.Millisecond
	}
	sub, err := redis.NewSubscriber(cfg)
	f.check(err)
	r, err := sub.Receiver(topics...)
	f.check(err)
	return r
}

func (f *fixture) logger() *slog.Logger { return slog.New(slog.NewTextHandler(f.log, nil)) }

func (f *fixture) publish(ids ...string) {
	f.t.Helper()
	for _, id := range ids {
		f.check(f.pub.Publish("t", message.NewMessage(id, []byte("{}"))))
	}
}

// add stores an entry as somebody else's publisher might.
func (f *fixture) add(topic string, values ...string) (id string) {
	f.t.Helper()
	id, err := f.client.XAdd(f.t.Context(), &goredis.XAddArgs{Stream: topic, Values: values}).Result()
	f.check(err)
	return id
}

func (f *fixture) receive(r transport.Receiver) *transport.Delivery {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	page, err := r.Receive(ctx, 1)
	f.check(err)
	return page[0]
}

// receiveOf receives from whichever of two receivers has something.
func (f *fixture) receiveOf(a, b transport.Receiver) (*transport.Delivery, transport.Receiver) {
	f.t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for time.Now().Before(limit) {
		for _, r := range []transport.Receiver{a, b} {
			ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Millisecond)
			page, err := r.Receive(ctx, 1)
			cancel()
			if err == nil {
				return page[0], r
			}
		}
	}
	f.t.Fatal("nothing to receive")
	return nil, nil
}

// consumers is how many consumers the group on topic t has.
func (f *fixture) consumers() int {
	consumers, err := f.client.XInfoConsumers(f.t.Context(), "t", "g").Result()
	if err != nil {
		return 0 // The group is gone.
	}
	return len(consumers)
}

func (f *fixture) pending() int64 {
	f.t.Helper()
	p, err := f.client.XPending(f.t.Context(), "t", "g").Result()
	f.check(err)
	return p.Count
}

// pendingOf returns what the server knows of one pending entry of topic t.
func (f *fixture) pendingOf(id string) goredis.XPendingExt {
	f.t.Helper()
	p, err := f.client.XPendingExt(f.t.Context(), &goredis.XPendingExtArgs{Stream: "t", Group: "g", Start: id, End: id, Count: 1}).Result()
	f.check(err)
	if len(p) == 0 {
		f.t.Fatalf("%s is not pending", id)
	}
	return p[0]
}

// entries returns all of a stream.
func (f *fixture) entries(key string) []goredis.XMessage {
	f.t.Helper()
	entries, err := f.client.XRange(f.t.Context(), key, "-", "+").Result()
	f.check(err)
	return entries
}

// eventually waits until something is so.
func (f *fixture) eventually(what string, so func() bool) {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-limit:
			f.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// calls is how often the server has run a command.
func (f *fixture) calls(command string) int {
	f.t.Helper()
	return f.stat(command, "calls")
}

// stat is one of the numbers that the server has of a command, such as rejected_calls.
func (f *fixture) stat(command, name string) (n int) {
	f.t.Helper()
	stats, err := f.client.Info(f.t.Context(), "commandstats").Result()
	f.check(err)
	for line := range strings.Lines(stats) {
		numbers, ok := strings.CutPrefix(strings.TrimSpace(line), "cmdstat_"+command+":")
		if !ok {
			continue
		}
		for pair := range strings.SplitSeq(numbers, ",") {
			if text, ok := strings.CutPrefix(pair, name+"="); ok {
				n, err = strconv.Atoi(text)
				f.check(err)
			}
		}
	}
	return n
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
