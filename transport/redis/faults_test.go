package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// fault is something that a server does to its clients, until it is mended.
type fault struct {
	settings []string
	begin    func(*fixture)
	mend     func(*fixture)
	says     string // what Publish says of it

	// The server may do, when it is mended, what nobody waits for any more: what is
	// read then comes again with its lease, and so may what is settled meanwhile.
	late bool
}

var faults = map[string]fault{
	"READONLY": { // as after a failover that the client has not noticed
		begin: func(f *fixture) { f.do("REPLICAOF", "127.0.0.1", "1") },
		mend:  func(f *fixture) { f.do("REPLICAOF", "NO", "ONE") },
		says:  "point the client at the primary",
	},
	"MISCONF": { // the snapshot cannot be written: where it should be there is a directory
		begin: func(f *fixture) {
			f.check(os.MkdirAll(filepath.Join(f.server.Dir(), "dump.rdb", "in the way"), 0o700))
			f.do("CONFIG", "SET", "save", "3600 1000000")
			f.do("BGSAVE")
			f.eventually("saving has failed", func() bool {
				return strings.Contains(f.client.Info(f.t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
			})
		},
		mend: func(f *fixture) {
			f.check(os.RemoveAll(filepath.Join(f.server.Dir(), "dump.rdb")))
			f.do("BGSAVE")
		},
		says: "look at its log and disk",
	},
	"NOREPLICAS": {
		begin: func(f *fixture) { f.do("CONFIG", "SET", "min-replicas-to-write", 1) },
		mend:  func(f *fixture) { f.do("CONFIG", "SET", "min-replicas-to-write", 0) },
		says:  "NOREPLICAS",
	},
	"BUSY": { // somebody's script does not end
		settings: []string{"--lua-time-limit", "10"},
		begin: func(f *fixture) {
			conn := goredis.NewClient(&goredis.Options{Addr: f.server.Addr, MaxRetries: -1, ReadTimeout: time.Minute})
			ended := make(chan error, 1)
			go func() { ended <- conn.Eval(context.Background(), "while true do end", nil).Err() }()
			f.t.Cleanup(func() {
				<-ended // It says that it was killed.
				f.check(conn.Close())
			})
			f.eventually("it runs", func() bool { return goredis.HasErrorPrefix(f.client.Get(f.t.Context(), "x").Err(), "BUSY") })
		},
		mend: func(f *fixture) { f.do("SCRIPT", "KILL") },
		says: "BUSY",
	},
	"NOPERM": {
		begin: func(f *fixture) { f.do("ACL", "SETUSER", "u", "-@write", "-@read") },
		mend:  func(f *fixture) { f.do("ACL", "SETUSER", "u", "+@all") },
		says:  "allow the user this command",
	},
	"WRONGPASS": { // a password that was changed
		begin: func(f *fixture) {
			f.do("ACL", "SETUSER", "u", "resetpass", ">q")
			f.do("CLIENT", "KILL", "USER", "u")
		},
		mend: func(f *fixture) { f.do("ACL", "SETUSER", "u", "resetpass", ">p") },
		says: "check user and password",
	},
	"a server that hangs": {
		begin: func(f *fixture) { f.check(f.server.Signal(syscall.SIGSTOP)) },
		mend:  func(f *fixture) { f.check(f.server.Signal(syscall.SIGCONT)) },
		says:  "check that the server runs",
		late:  true,
	},
}

// do runs a command that must work.
func (f *fixture) do(args ...any) {
	f.t.Helper()
	f.check(f.client.Do(f.t.Context(), args...).Err())
}

// Publish reports all that the server did not take, reading waits longer each time
// and goes on, and outcomes are applied, or reported and then come again.
func TestAFaultOfTheServerIsReportedAndOutlasted(t *testing.T) {
	t.Parallel()
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, fault.settings...)
			f.do("ACL", "SETUSER", "u", "on", ">p", "~*", "&*", "+@all")
			client := goredis.NewClient(&goredis.Options{
				// With a shorter time-out reads would go through a copy of the client, which has no hooks.
				Addr: f.server.Addr, Username: "u", Password: "p", ReadTimeout: 1200 * time.Millisecond, DialerRetries: 1, MaxRetries: -1,
			})
			t.Cleanup(func() { f.check(client.Close()) })
			counted := &counter{commands: map[string]int{}}
			client.AddHook(counted)
			lease, retries := time.Minute, 3
			if fault.late {
				lease, retries = 2*time.Second, 1
			}
			r := f.receiver(redis.SubscriberConfig{Client: client, Lease: lease, Block: 50 * time.Millisecond})
			f.publish("ack", "retry", "dead-letter", "release")
			held := []*transport.Delivery{f.receive(r), f.receive(r), f.receive(r), f.receive(r)}

			fault.begin(f)
			reads, begun := counted.of("xreadgroup"), time.Now()
			pub := f.publisher(client)
			for _, msgs := range [][]*message.Message{numbered(3), numbered(1)} {
				err := pub.Publish("t", msgs...)
				if failed := reported(t, err); len(failed) != len(msgs) {
					t.Errorf("%d of %d reported", len(failed), len(msgs))
				}
				if err == nil || !strings.Contains(err.Error(), fault.says) {
					t.Errorf("publish: %v", err)
				}
			}
			settled := make(chan error, 1)
			go func() {
				settled <- r.Settle(t.Context(), held[0].Ack(), held[1].Retry(0, nil), held[2].DeadLetter(errors.New("bad")), held[3].Release())
			}()
			f.eventually("reading fails", func() bool { return f.log.count("reading failed") == 1 })
			f.eventually("it is tried again", func() bool { return counted.of("xreadgroup") > reads+retries })
			if n, most := counted.of("xreadgroup")-reads, mostReads(time.Since(begun)); n > most {
				t.Errorf("%d reads in %v, want at most %d", n, time.Since(begun), most)
			}

			fault.mend(f)
			if err := <-settled; err != nil {
				failed, ok := errors.AsType[*transport.SettleError](err)
				if !ok || !strings.Contains(err.Error(), fault.says) {
					t.Fatalf("settle: %v", err)
				}
				for _, u := range failed.Unsettled {
					f.check(r.Settle(t.Context(), u.Outcome))
				}
			}
			f.eventually("publishing works again", func() bool { return pub.Publish("t", message.NewMessage("after", nil)) == nil })
			for want := map[string]bool{"after": true, "retry": true, "release": true}; len(want) > 0; {
				d := f.receive(r)
				delete(want, d.Message.UUID)
				f.check(r.Settle(t.Context(), d.Ack()))
			}
			if dead := f.stored(transport.DeadLetterTopic("t"))["dead-letter"]; dead != 1 && !fault.late {
				t.Errorf("%d dead letters", dead)
			}
			if n := f.pending(); n != 0 && !fault.late {
				t.Errorf("%d entries are pending", n)
			}
			if n := f.log.count("reading failed"); n != 1 {
				t.Errorf("one fault was reported %d times: %s", n, f.log.String())
			}
		})
	}
}

// mostReads is how many reads may fail in a time: the waits between them are at least
// half of 50 ms, and twice that each time, up to half of 2 s.
func mostReads(d time.Duration) int {
	n := 2 // one that was under way, and one at once
	for wait := 25 * time.Millisecond; d > 0; wait = min(2*wait, time.Second) {
		d -= wait
		n++
	}
	return n
}

// A server that has just been started answers LOADING to all but a few commands.
func TestAServerThatIsLoadingIsWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
	r := f.receiver(redis.SubscriberConfig{Client: f.client, Lease: time.Minute})
	f.publish("held")
	held := f.receive(r)
	for i := range 100 { // 20 ms each
		f.check(f.client.Set(t.Context(), fmt.Sprint("key", i), make([]byte, 4<<10), 0).Err())
	}
	f.do("BGREWRITEAOF")
	f.eventually("all is in one file", func() bool {
		info := f.client.Info(t.Context(), "persistence").Val()
		return strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
	})
	f.server.Kill()
	restarted, settled := make(chan error, 1), make(chan error, 1)
	go func() { restarted <- f.server.Restart(t.Context()) }()
	go func() { settled <- r.Settle(t.Context(), held.Retry(0, nil)) }()
	client := goredis.NewClient(&goredis.Options{Addr: f.server.Addr, MaxRetries: -1})
	t.Cleanup(func() { f.check(client.Close()) })
	pub := f.publisher(client)
	loading := 0
	f.eventually("publishing works again", func() bool {
		err := pub.Publish("t", message.NewMessage("after", nil), message.NewMessage("later", nil))
		if len(reported(t, err)) == 2 && strings.Contains(err.Error(), "LOADING") {
			loading++
		}
		return err == nil
	})
	f.check(errors.Join(<-restarted, <-settled))
	if loading == 0 {
		t.Error("the server was never seen loading")
	}
	for _, want := range []int{1, 1, 2} { // the retry has its second attempt
		d := f.receive(r)
		if d.Attempt > want {
			t.Errorf("%s: attempt %d", d.Message.UUID, d.Attempt)
		}
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	if n := f.pending(); n != 0 {
		t.Errorf("%d entries are pending", n)
	}
}

// What stores something fails and is reported, what does not goes on.
func TestWithoutMemoryOutcomesThatStoreFailAndLeaveTheirEntriesPending(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{Lease: 500 * time.Millisecond})
	f.publish("ack", "retry", "dead-letter", "release")
	var held []*transport.Delivery
	for range 4 {
		held = append(held, f.receive(r))
	}
	_, err := f.client.TxPipelined(t.Context(), func(p goredis.Pipeliner) error { // no time to bury the garbage between them
		p.XAdd(t.Context(), &goredis.XAddArgs{Stream: "t", Values: []string{"garbage", "x"}})
		p.ConfigSet(t.Context(), "maxmemory", "1")
		return nil
	})
	f.check(err)
	err = r.Settle(t.Context(), held[0].Ack(), held[1].Retry(0, nil), held[2].DeadLetter(errors.New("bad")), held[3].Release())
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok || len(failed.Unsettled) != 3 || !strings.Contains(err.Error(), "raise maxmemory") {
		t.Fatalf("settle: %v", err)
	}
	for _, key := range []string{"{t}:retry:g", "{t}:delay:g", "{t}:delayed:g", transport.DeadLetterTopic("t")} {
		if n := f.client.Exists(t.Context(), key).Val(); n != 0 && key != "{t}:retry:g" {
			t.Errorf("%s was written", key)
		}
	}
	f.check(f.client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	for range 3 {
		d := f.receive(r)
		if d.Attempt < 2 {
			t.Errorf("%s: attempt %d", d.Message.UUID, d.Attempt)
		}
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	f.eventually("the garbage is buried", func() bool { return len(f.entries(transport.DeadLetterTopic("t"))) == 1 && f.pending() == 0 })
}

// Scripts are forgotten by a restart, a failover and SCRIPT FLUSH.
func TestScriptsThatTheServerHasForgottenAreSentAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute, ReclaimInterval: 20 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	flushing := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			_ = f.client.ScriptFlush(ctx).Err() // It ends with ctx.
		}
		flushing <- n
	}()
	const n = 100
	f.check(f.pub.Publish("t", numbered(n)...))
	for left := n; left > 0; {
		d := f.receive(r)
		redis.Renew(r)
		switch {
		case d.Attempt == 1:
			f.check(r.Settle(t.Context(), d.Retry(0, nil)))
		case left%2 == 0:
			f.check(r.Settle(t.Context(), d.DeadLetter(errors.New("bad"))))
			left--
		default:
			f.check(r.Settle(t.Context(), d.Ack()))
			left--
		}
	}
	stop()
	t.Logf("scripts were forgotten %d times", <-flushing)
	if dead := len(f.entries(transport.DeadLetterTopic("t"))); dead != n/2 || f.pending() != 0 {
		t.Errorf("%d dead letters, %d pending", dead, f.pending())
	}
}
