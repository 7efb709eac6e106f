package redis_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// counter counts the commands that a client is asked to run.
type counter struct {
	mu       sync.Mutex
	commands map[string]int
}

func (c *counter) add(cmd goredis.Cmder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands[cmd.Name()]++
}

func (c *counter) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commands[name]
}

func (c *counter) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (c *counter) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		c.add(cmd)
		return next(ctx, cmd)
	}
}

func (c *counter) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		for _, cmd := range cmds {
			c.add(cmd)
		}
		return next(ctx, cmds)
	}
}

// sentinels is a primary and a replica that a Sentinel watches.
type sentinels struct {
	*fixture          // of the primary
	replica  *fixture // the primary to be
	sentinel *redisserver.Server
}

func newSentinels(t *testing.T) *sentinels {
	t.Helper()
	s := &sentinels{fixture: newFixture(t), replica: newFixture(t)}
	host, port, err := net.SplitHostPort(s.server.Addr)
	s.check(err)
	s.replica.do("REPLICAOF", host, port)
	s.eventually("the replica has all", func() bool {
		return strings.Contains(s.replica.client.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	s.sentinel, err = redisserver.StartSentinel(t.Context(), "primary", s.server.Addr)
	s.check(err)
	t.Cleanup(func() { s.check(s.sentinel.Close()) })
	watch := goredis.NewSentinelClient(&goredis.Options{Addr: s.sentinel.Addr})
	t.Cleanup(func() { s.check(watch.Close()) })
	s.eventually("the Sentinel knows the replica", func() bool {
		replicas := watch.Replicas(t.Context(), "primary").Val()
		return len(replicas) == 1 && replicas[0]["master-link-status"] == "ok"
	})
	return s
}

// client opens a client that asks the Sentinel for the primary.
func (s *sentinels) client(poolSize int) *goredis.Client {
	client := goredis.NewFailoverClient(&goredis.FailoverOptions{MasterName: "primary", SentinelAddrs: []string{s.sentinel.Addr}, PoolSize: poolSize})
	s.t.Cleanup(func() { s.check(client.Close()) })
	return client
}

// The primary dies. Redis replicates asynchronously, so what it alone has
// acknowledged dies with it: what must arrive is what it has acknowledged and the
// replica has confirmed (WAIT), and all that the new primary acknowledges.
func TestP6_AFailoverBySentinelLosesNothingThatWasReplicated(t *testing.T) {
	t.Parallel()
	s := newSentinels(t)
	// WAIT speaks of its own connection, so there is one.
	pubClient, subClient := s.client(1), s.client(10)
	counted := &counter{commands: map[string]int{}}
	subClient.AddHook(counted)
	pub := s.publisher(pubClient)
	r := s.receiver(redis.SubscriberConfig{Client: subClient, Lease: time.Second})

	safe, dead, n := map[string]bool{}, false, 0
	publish := func() (ok bool) {
		n++
		id := fmt.Sprint(n)
		if err := pub.Publish("t", message.NewMessage(id, nil)); err != nil {
			reported(t, err)
			return false
		}
		if !dead {
			replicas, err := pubClient.Do(within(t, 20*time.Second), "WAIT", 1, 1000).Int()
			if err != nil || replicas < 1 {
				return true
			}
		}
		safe[id] = true
		return true
	}
	handle := func() {
		d := s.receive(r)
		s.check(r.Settle(within(t, 20*time.Second), d.Ack()))
		delete(safe, d.Message.UUID)
	}
	for range 50 {
		publish()
		if n%2 == 0 { // The rest is handled after the failover.
			handle()
		}
	}
	waited := len(safe)
	s.server.Kill()
	dead = true
	reads, begun := counted.of("xreadgroup"), time.Now()
	failed := 0
	s.eventually("there is another primary", func() bool {
		if publish() {
			return true
		}
		failed++
		return false
	})
	outage := time.Since(begun)
	for range 20 {
		if !publish() {
			t.Error("publishing fails after the failover")
		}
	}
	for len(safe) > 0 {
		handle()
	}
	if n, most := counted.of("xreadgroup")-reads, mostReads(outage)+70; n > most { // one for each message at most
		t.Errorf("%d reads, want at most %d", n, most)
	}
	if n := s.log.count("reading failed"); n > 1 { // go-redis may have outlasted it
		t.Errorf("one failover was reported %d times: %s", n, s.log.String())
	}
	t.Logf("the failover took %v and %d publish calls that were reported; %d messages were known to be replicated before and not handled", outage, failed, waited)

	// A replica that lagged behind may not even have the group.
	s.check(s.replica.client.XGroupDestroy(t.Context(), "t", "g").Err())
	s.eventually("the group is there again", func() bool { return s.log.count("group was gone and is created again") == 1 })
	publish()
	for len(safe) > 0 {
		handle() // all of the stream, as the group begins at its start
	}
}
