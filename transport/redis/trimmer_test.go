package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func (f *fixture) trimmer(cfg redis.TrimmerConfig) *redis.Trimmer {
	f.t.Helper()
	cfg.Client, cfg.Logger = f.client, slog.New(slog.NewTextHandler(f.log, nil))
	if cfg.Topics == nil {
		cfg.Topics = []string{"t"}
	}
	trimmer, err := redis.NewTrimmer(cfg)
	f.check(err)
	return trimmer
}

// trim trims topic t once.
func (f *fixture) trim(cfg redis.TrimmerConfig) redis.TrimReport {
	f.t.Helper()
	reports, err := f.trimmer(cfg).Trim(f.t.Context())
	f.check(err)
	return reports[0]
}

// fill adds entries 1-0, 2-0, … n-0 to topic t, which are old therefore.
func (f *fixture) fill(n int) {
	f.t.Helper()
	pipe := f.client.Pipeline()
	for i := range n {
		pipe.XAdd(f.t.Context(), &goredis.XAddArgs{Stream: "t", ID: fmt.Sprint(i+1, "-0"), Values: []string{"n", fmt.Sprint(i + 1)}})
	}
	_, err := pipe.Exec(f.t.Context())
	f.check(err)
}

// read makes a consumer of a group of topic t read n entries.
func (f *fixture) read(group, consumer string, n int64) (ids []string) {
	f.t.Helper()
	streams, err := f.client.XReadGroup(f.t.Context(), &goredis.XReadGroupArgs{Group: group, Consumer: consumer, Streams: []string{"t", ">"}, Count: n, Block: -1}).Result()
	if errors.Is(err, goredis.Nil) {
		return nil
	}
	f.check(err)
	for _, m := range streams[0].Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

func (f *fixture) group(name, start string) {
	f.t.Helper()
	f.check(f.client.XGroupCreateMkStream(f.t.Context(), "t", name, start).Err())
}

func (f *fixture) ack(group string, ids ...string) {
	f.t.Helper()
	f.check(f.client.XAck(f.t.Context(), "t", group, ids...).Err())
}

func TestATrimmerThatCannotWorkIsRefused(t *testing.T) {
	f := newFixture(t)
	for field, change := range map[string]func(*redis.TrimmerConfig){
		"redis.TrimmerConfig.Client":     func(c *redis.TrimmerConfig) { c.Client = nil },
		"topics":                         func(c *redis.TrimmerConfig) { c.Topics = nil },
		"topic":                          func(c *redis.TrimmerConfig) { c.Topics = []string{"a}b"} },
		"redis.TrimmerConfig.Groups":     func(c *redis.TrimmerConfig) { c.Groups = []string{""} },
		"redis.TrimmerConfig.MaxLen":     func(c *redis.TrimmerConfig) { c.MaxLen = -1 },
		"redis.TrimmerConfig.MaxAge":     func(c *redis.TrimmerConfig) { c.MaxAge = time.Microsecond },
		"redis.TrimmerConfig.Interval":   func(c *redis.TrimmerConfig) { c.Interval = -1 },
		"redis.TrimmerConfig.StaleAfter": func(c *redis.TrimmerConfig) { c.StaleAfter = -1 },
		"redis.TrimmerConfig.Stale":      func(c *redis.TrimmerConfig) { c.Stale = 7 },
	} {
		cfg := redis.TrimmerConfig{Client: f.client, Topics: []string{"t"}, MaxLen: 1}
		change(&cfg)
		_, err := redis.NewTrimmer(cfg)
		if bad, ok := errors.AsType[*events.ConfigError](err); !ok || bad.Field != field || bad.Remedy == "" {
			t.Errorf("%s: error %v", field, err)
		}
	}
	_, err := redis.NewTrimmer(redis.TrimmerConfig{Client: f.client, Topics: []string{"t"}})
	if err == nil || !strings.Contains(err.Error(), "without a limit nothing is removed") {
		t.Errorf("without limits: %v", err)
	}
}

func TestWhatAGroupHasNotReadOrNotSettledStays(t *testing.T) {
	for name, limit := range map[string]redis.TrimmerConfig{"length": {MaxLen: 1}, "age": {MaxAge: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.fill(300)
			f.group("slow", "0")
			f.group("fast", "0")
			f.ack("fast", f.read("fast", "c", 300)...)
			ids := f.read("slow", "c", 200)
			want := func(what string, removed, left int64, heldBy string) {
				t.Helper()
				r := f.trim(limit)
				entries := f.entries("t")
				if r.Removed != removed || r.Length != left || int64(len(entries)) != left || r.HeldBy != heldBy {
					t.Errorf("%s: report %+v, %d entries; want %d removed, %d left, held by %q", what, r, len(entries), removed, left, heldBy)
				}
			}
			want("all is pending or unread", 0, 300, "slow")
			f.ack("slow", ids[:150]...)
			want("a part is settled", 150, 150, "slow")
			f.ack("slow", ids[160:]...)
			want("what is in between is not", 0, 150, "slow")
			f.ack("slow", ids...)
			want("a part is unread", 50, 100, "slow")
			f.ack("slow", f.read("slow", "c", 200)...)
			left := int64(1)
			if limit.MaxAge > 0 {
				left = 0
			}
			want("all is settled", 100-left, left, "")
		})
	}
}

func TestADeclaredGroupThatDoesNotExistHoldsEverything(t *testing.T) {
	f := newFixture(t)
	f.fill(10)
	if r := f.trim(redis.TrimmerConfig{MaxLen: 4, Groups: []string{"later"}, Stale: redis.IgnoreStale, StaleAfter: time.Millisecond}); r.Removed != 0 || r.HeldBy != "later" {
		t.Errorf("declared, not there: %+v", r)
	}
	f.group("undeclared", "0")
	f.group("later", "$")
	if r := f.trim(redis.TrimmerConfig{MaxLen: 4, Groups: []string{"later"}}); r.Removed != 0 || r.HeldBy != "undeclared" {
		t.Errorf("not declared, and there: %+v", r)
	}
	f.check(f.client.XGroupDestroy(t.Context(), "t", "undeclared").Err())
	if r := f.trim(redis.TrimmerConfig{MaxLen: 4, Groups: []string{"later"}}); r.Removed != 6 || r.HeldBy != "" {
		t.Errorf("declared, there, with nothing to do: %+v", r)
	}
	f.check(f.client.XGroupDestroy(t.Context(), "t", "later").Err())
	if r := f.trim(redis.TrimmerConfig{MaxLen: 3}); r.Removed != 1 || r.Length != 3 {
		t.Errorf("no groups: %+v", r)
	}
}

func TestWhatIsOverTheLimitGoesInPages(t *testing.T) {
	f := newFixture(t)
	f.fill(5500)
	if r := f.trim(redis.TrimmerConfig{MaxLen: 7}); r.Removed != 5493 || r.Length != 7 {
		t.Errorf("report %+v", r)
	}
	if entries := f.entries("t"); entries[0].ID != "5494-0" {
		t.Errorf("the oldest left is %s", entries[0].ID)
	}
	if n := f.calls("evalsha") + f.calls("eval"); n < 6 {
		t.Errorf("%d script calls", n)
	}
}

// A node of a stream is what approximate trimming removes, or nothing.
func TestP14_NodesLargerThanAPageAreTrimmedToo(t *testing.T) {
	f := newFixture(t, "--stream-node-max-entries", "0", "--stream-node-max-bytes", "0")
	f.fill(3000)
	if r := f.trim(redis.TrimmerConfig{MaxLen: 10}); r.Removed != 2990 || r.Length != 10 {
		t.Errorf("by length: %+v", r)
	}
	if r := f.trim(redis.TrimmerConfig{MaxAge: time.Hour}); r.Removed != 10 || r.Length != 0 {
		t.Errorf("by age: %+v", r)
	}
	if n := len(f.entries("t")); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestWhatIsYoungerThanTheLimitStays(t *testing.T) {
	f := newFixture(t)
	f.fill(150)
	f.publish("1", "2")
	if r := f.trim(redis.TrimmerConfig{MaxAge: time.Hour}); r.Removed != 150 || r.Length != 2 {
		t.Errorf("report %+v", r)
	}
}

func TestWhatWasTrimmedIsTheSameAfterARestart(t *testing.T) {
	f := newFixture(t, "--appendfsync", "always")
	f.fill(2500)
	f.group("g", "0")
	f.ack("g", f.read("g", "c", 2345)...)
	if r := f.trim(redis.TrimmerConfig{MaxLen: 100}); r.Removed != 2345 || r.HeldBy != "g" {
		t.Errorf("report %+v", r)
	}
	f.check(f.server.Restart(t.Context()))
	if left := f.entries("t"); len(left) != 155 || left[0].ID != "2346-0" {
		t.Errorf("%d are left, the first is %s", len(left), left[0].ID)
	}
	if ids := f.read("g", "c", 1); len(ids) != 1 || ids[0] != "2346-0" {
		t.Errorf("the group goes on with %v", ids)
	}
}

func TestEitherLimitRemoves(t *testing.T) {
	f := newFixture(t)
	f.fill(50)
	f.publish("1", "2", "3", "4", "5")
	if r := f.trim(redis.TrimmerConfig{MaxAge: time.Hour, MaxLen: 4}); r.Removed != 51 || r.Length != 4 {
		t.Errorf("report %+v", r)
	}
}

func TestP13_AStaleGroupIsReportedOnceAndIgnoredIfSoConfigured(t *testing.T) {
	f := newFixture(t)
	f.fill(10)
	f.group("abandoned", "0")
	f.read("abandoned", "c", 5)
	cfg := redis.TrimmerConfig{MaxLen: 1, StaleAfter: 20 * time.Millisecond}
	holding := f.trimmer(cfg)
	var r redis.TrimReport
	for range 2 {
		f.eventually("the group is stale", func() bool {
			reports, err := holding.Trim(t.Context())
			f.check(err)
			r = reports[0]
			return len(r.Stale) == 1
		})
	}
	if g := r.Stale[0]; g.Group != "abandoned" || g.Oldest != "1-0" || !g.Stored.Equal(time.UnixMilli(1)) || g.Idle < cfg.StaleAfter {
		t.Errorf("stale %+v", g)
	}
	if r.Removed != 0 || r.HeldBy != "abandoned" {
		t.Errorf("report %+v: it no longer holds its entries", r)
	}
	if n := f.log.count("nobody works for"); n != 1 {
		t.Errorf("reported %d times:\n%s", n, f.log)
	}
	f.read("abandoned", "c", 1)
	f.check(f.client.XClaim(t.Context(), &goredis.XClaimArgs{Stream: "t", Group: "abandoned", Consumer: "c", Messages: []string{"1-0"}}).Err())
	if r := f.trim(redis.TrimmerConfig{MaxLen: 1, Stale: redis.IgnoreStale}); r.Removed != 0 || len(r.Stale) != 0 {
		t.Errorf("a group that is at work: %+v", r)
	}
	cfg.Stale = redis.IgnoreStale
	f.eventually("the group is stale again", func() bool {
		r = f.trim(cfg)
		return len(r.Stale) == 1
	})
	if r.Removed != 9 || r.Length != 1 || r.HeldBy != "" {
		t.Errorf("ignored: %+v", r)
	}
}

func TestAGroupThatMayBeNewOrHasNothingToDoIsNotStale(t *testing.T) {
	f := newFixture(t)
	f.fill(10)
	cfg := redis.TrimmerConfig{MaxLen: 1, StaleAfter: time.Millisecond, Stale: redis.IgnoreStale}
	f.group("new", "0")
	if r := f.trim(cfg); len(r.Stale) != 0 || r.HeldBy != "new" {
		t.Errorf("never read, no consumers: %+v", r)
	}
	f.check(f.client.XGroupDestroy(t.Context(), "t", "new").Err())
	f.group("done", "0")
	f.ack("done", f.read("done", "c", 10)...)
	before := f.now()
	f.eventually("its consumer is idle", func() bool { return f.now().Sub(before) > 5*time.Millisecond })
	if r := f.trim(cfg); len(r.Stale) != 0 || r.Removed != 9 {
		t.Errorf("nothing to do: %+v", r)
	}
	f.check(f.client.XGroupDelConsumer(t.Context(), "t", "done", "c").Err())
	f.publish("young")
	if r := f.trim(redis.TrimmerConfig{MaxLen: 1}); len(r.Stale) != 0 || r.Removed != 1 {
		t.Errorf("what waits has not waited long: %+v", r)
	}
	f.eventually("what waits has waited for too long", func() bool {
		r := f.trim(cfg)
		return len(r.Stale) == 1 && r.Stale[0].Idle < 0
	})
}

// now is the server's time.
func (f *fixture) now() time.Time {
	f.t.Helper()
	now, err := f.client.Time(f.t.Context()).Result()
	f.check(err)
	return now
}

func TestDeadLettersAreTrimmedLikeAnyTopic(t *testing.T) {
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{})
	for i := range 5 {
		f.publish(fmt.Sprint(i))
		f.check(r.Settle(t.Context(), f.receive(r).DeadLetter(errors.New("bad"))))
	}
	dead := transport.DeadLetterTopic("t")
	reports, err := f.trimmer(redis.TrimmerConfig{Topics: []string{dead, "t"}, MaxLen: 2}).Trim(t.Context())
	f.check(err)
	if len(reports) != 2 || reports[0].Topic != dead || reports[0].Removed != 3 || reports[1].Length != 2 {
		t.Errorf("reports %+v", reports)
	}
	if left := f.entries(dead); len(left) != 2 || left[1].Values["_watermill_message_uuid"] != "4" {
		t.Errorf("left %v", left)
	}
}

func TestTrimmingMakesRoomOnAServerThatIsOutOfMemory(t *testing.T) {
	f := newFixture(t, "--appendonly", "no", "--maxmemory", "6mb", "--maxmemory-policy", "noeviction")
	body := []byte(strings.Repeat("x", 10_000))
	var err error
	for range 2000 {
		if err = f.pub.Publish("t", message.NewMessage("1", body)); err != nil {
			break
		}
	}
	if err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Fatalf("the server has room: %v", err)
	}
	if r := f.trim(redis.TrimmerConfig{MaxLen: 10}); r.Length != 10 || r.Removed == 0 {
		t.Errorf("report %+v", r)
	}
	f.publish("there is room again")
}

func TestTopicsThatCannotBeTrimmedAreNamedAndDoNotStopOthers(t *testing.T) {
	f := newFixture(t)
	f.fill(5)
	f.check(f.client.Set(t.Context(), "s", "a string", 0).Err())
	reports, err := f.trimmer(redis.TrimmerConfig{Topics: []string{"s", "missing", "t"}, MaxLen: 1}).Trim(t.Context())
	if err == nil || !strings.Contains(err.Error(), `trim "s": WRONGTYPE`) || !strings.Contains(err.Error(), "rename it") || strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v", err)
	}
	if len(reports) != 3 || reports[1].Topic != "missing" || reports[1].Length != 0 || reports[2].Removed != 4 {
		t.Errorf("reports %+v", reports)
	}
	if n := f.client.Exists(t.Context(), "missing").Val(); n != 0 {
		t.Error("a topic was created")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := f.trimmer(redis.TrimmerConfig{MaxLen: 1}).Trim(ctx); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("after the end of its context: %v", err)
	}
}

func TestRunTrimsAtEveryIntervalAndAfterAnOutage(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	trimmer := f.trimmer(redis.TrimmerConfig{MaxLen: 3, Interval: 10 * time.Millisecond})
	go func() { ended <- trimmer.Run(ctx) }()
	length := func() int64 { return f.client.XLen(t.Context(), "t").Val() }
	for range 3 {
		f.publish("1", "2", "3", "4", "5", "6")
		f.eventually("it is trimmed", func() bool { return length() == 3 })
	}
	f.server.Kill()
	f.eventually("the outage is noticed", func() bool { return f.log.count("trimming failed") == 1 })
	f.check(f.server.Restart(t.Context()))
	f.eventually("so is its end", func() bool { return f.log.count("trimming again") == 1 })
	f.publish("1", "2", "3", "4", "5", "6")
	f.eventually("it is trimmed", func() bool { return length() == 3 })
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if n := f.log.count("trimming failed"); n != 1 {
		t.Errorf("one outage was reported %d times", n)
	}
}

func TestRunEndsWithItsClient(t *testing.T) {
	f := newFixture(t)
	client := goredis.NewClient(&goredis.Options{Addr: f.server.Addr})
	f.check(client.Close())
	trimmer, err := redis.NewTrimmer(redis.TrimmerConfig{Client: client, Topics: []string{"t"}, MaxLen: 1})
	f.check(err)
	if err := trimmer.Run(t.Context()); !errors.Is(err, goredis.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
}
