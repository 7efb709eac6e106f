package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	"github.com/logistically/events/transport/transporttest"
	goredis "github.com/redis/go-redis/v9"
)

const slots = 16384

// cluster is a Redis Cluster of three nodes, each with a third of the slots.
type cluster struct {
	*fixture
	nodes  []*goredis.Client
	ids    []string
	client *goredis.ClusterClient
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{fixture: &fixture{t: t, log: &logBuffer{}}}
	var addrs []string
	for i := range 3 {
		addr := startNode(t)
		node := goredis.NewClient(&goredis.Options{Addr: addr})
		t.Cleanup(func() { c.check(node.Close()) })
		first, end := slots*i/3, slots*(i+1)/3
		c.check(node.ClusterAddSlotsRange(t.Context(), first, end-1).Err())
		c.check(node.Do(t.Context(), "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
		id, err := node.ClusterMyID(t.Context()).Result()
		c.check(err)
		addrs, c.nodes, c.ids = append(addrs, addr), append(c.nodes, node), append(c.ids, id)
	}
	for _, addr := range addrs[1:] {
		host, port, err := net.SplitHostPort(addr)
		c.check(err)
		c.check(c.nodes[0].ClusterMeet(t.Context(), host, port).Err())
	}
	for _, node := range c.nodes {
		c.eventually("the cluster is formed", func() bool {
			info := node.ClusterInfo(t.Context()).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3") && strings.Contains(info, "cluster_slots_assigned:16384")
		})
	}
	c.client = goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: addrs, PoolSize: 100})
	t.Cleanup(func() { c.check(c.client.Close()) })
	return c
}

// startNode tries several times: the port that a node talks to others on is
// 10000 above its own, and there may be none.
func startNode(t *testing.T) string {
	t.Helper()
	var err error
	for range 4 {
		var s *redisserver.Server
		if s, err = redisserver.Start(t.Context(), "--cluster-enabled", "yes"); err == nil {
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return s.Addr
		}
	}
	t.Fatal(err)
	return ""
}

func (c *cluster) open(cfg redis.SubscriberConfig, topics ...string) (transport.Receiver, *redis.Publisher) {
	c.t.Helper()
	cfg.Client, cfg.Group, cfg.Block, cfg.Logger = c.client, "g", 100*time.Millisecond, slog.New(slog.NewTextHandler(c.log, nil))
	sub, err := redis.NewSubscriber(cfg)
	c.check(err)
	r, err := sub.Receiver(topics...)
	c.check(err)
	c.t.Cleanup(func() { c.check(r.Close()) })
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: c.client})
	c.check(err)
	return r, pub
}

func (c *cluster) slot(key string) int {
	c.t.Helper()
	slot, err := c.nodes[0].ClusterKeySlot(c.t.Context(), key).Result()
	c.check(err)
	return int(slot)
}

// owner is the number of the node that has a slot.
func owner(slot int) int { return (3*slot + 2) / slots }

// move makes a slot another node's, with all its keys, as redis-cli --cluster reshard does.
func (c *cluster) move(slot, from, to int) {
	c.t.Helper()
	ctx := c.t.Context()
	setslot := func(node int, args ...any) {
		c.t.Helper()
		c.check(c.nodes[node].Do(ctx, append([]any{"CLUSTER", "SETSLOT", slot}, args...)...).Err())
	}
	setslot(to, "IMPORTING", c.ids[from])
	setslot(from, "MIGRATING", c.ids[to])
	host, port, err := net.SplitHostPort(c.nodes[to].Options().Addr)
	c.check(err)
	for {
		keys, err := c.nodes[from].ClusterGetKeysInSlot(ctx, slot, 100).Result()
		c.check(err)
		if len(keys) == 0 {
			break
		}
		for _, key := range keys { // one by one: some are there, some here
			c.check(c.nodes[from].Migrate(ctx, host, port, key, 0, 10*time.Second).Err())
		}
	}
	for _, node := range []int{to, from} {
		setslot(node, "NODE", c.ids[to])
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	t.Run("Transport", func(t *testing.T) { transporttest.Run(t, committing(c.client)) })
	for name, test := range map[string]func(*cluster){
		"TopicsOfSeveralSlotsInOneReceiver":       topicsOfSeveralSlots,
		"ASlotThatMovesDoesNotStopTheConsumer":    slotThatMoves,
		"DeadLettersInAnotherSlotAreSaidToBe":     deadLettersElsewhere,
		"TopicsWhoseKeysWouldBeElsewhereAreNamed": topicsThatCannotBe,
		"AUserWithTheLeastPrivilegesCanDoItAll":   leastPrivileges,
		"ClaimsInAnotherSlotAreNotForTheAck":      claimsElsewhere,
	} {
		t.Run(name, func(t *testing.T) {
			one := *c
			one.fixture = &fixture{t: t, log: &logBuffer{}}
			test(&one)
		})
	}
}

// What is not in one slot is not to be done in one step, and works without.
func claimsElsewhere(c *cluster) {
	store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: c.client})
	c.check(err)
	r, pub := c.open(redis.SubscriberConfig{Lease: time.Minute}, "{claims}-in")
	c.check(pub.Publish("{claims}-in", message.NewMessage("1", nil)))
	d := c.receive(r)
	for topic, want := range map[string]bool{"{claims}-out": true, "claims": true, "{claims": false, "out": false} {
		transport.NewLot(&transport.Route{Publisher: pub, Topic: topic}, []*transport.Delivery{d})
		if got := d.Publishes(); got != want {
			c.t.Errorf("the ack can publish to %q: %v", topic, got)
		}
	}
	for key, want := range map[string]bool{"{claims}:1": true, "1": false, "{}{claims}": false} {
		if got := d.Concludes(store, key); got != want {
			c.t.Errorf("the ack can conclude a claim of %q: %v", key, got)
		}
	}
	var claims []transport.Claim
	for i := range 20 {
		claims = append(claims, claimOf(fmt.Sprint(i), "a"))
	}
	results, err := store.Begin(c.t.Context(), claims...) // in many slots
	c.check(err)
	for i, result := range results {
		if result.State != transport.ClaimStarted {
			c.t.Errorf("claim %d: %s", i, stateNames[result.State])
		}
		c.check(store.Done(c.t.Context(), claims[i], nil))
	}
	c.check(r.Settle(c.t.Context(), d.Ack()))
}

func topicsOfSeveralSlots(c *cluster) {
	topics := []string{"user-events", "invoice-events", "{billing}-events"}
	for i, topic := range topics {
		if node := owner(c.slot(topic)); node != i {
			c.t.Fatalf("%s is on node %d", topic, node)
		}
	}
	r, pub := c.open(redis.SubscriberConfig{Lease: time.Minute}, topics...)
	for _, topic := range topics {
		for _, id := range []string{"ack", "retry", "dead-letter", "release"} {
			c.check(pub.Publish(topic, message.NewMessage(id, nil)))
		}
	}
	released := map[string]bool{}
	for range len(topics) * 6 { // four, and two that come again
		d := c.receive(r)
		o := d.Ack()
		switch id := d.Message.UUID; {
		case id == "retry" && d.Attempt == 1:
			o = d.Retry(0, nil)
		case id == "dead-letter":
			o = d.DeadLetter(errors.New("bad"))
		case id == "release" && !released[d.Topic]:
			o, released[d.Topic] = d.Release(), true
		}
		c.check(r.Settle(c.t.Context(), o))
	}
	for _, topic := range topics {
		if n := c.client.XLen(c.t.Context(), transport.DeadLetterTopic(topic)).Val(); n != 1 {
			c.t.Errorf("%s has %d dead letters", topic, n)
		}
		if n := c.client.XPending(c.t.Context(), topic, "g").Val().Count; n != 0 {
			c.t.Errorf("%s has %d pending entries", topic, n)
		}
	}
}

func slotThatMoves(c *cluster) {
	const topic = "moving-events"
	r, pub := c.open(redis.SubscriberConfig{Lease: 2 * time.Second}, topic)
	ctx, stop := context.WithCancel(c.t.Context())
	defer stop()
	published := make(chan []string, 1)
	go func() {
		var ids []string
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprint(i)
			if err := pub.Publish(topic, message.NewMessage(id, nil)); err == nil {
				ids = append(ids, id)
			}
		}
		published <- ids
	}()
	handled := map[string]bool{}
	handle := func(n int) {
		c.t.Helper()
		for want := len(handled) + n; len(handled) < want; {
			d := c.receive(r)
			o := d.Ack()
			if d.Attempt == 1 && len(handled)%10 == 0 {
				o = d.Retry(0, nil)
			} else {
				handled[d.Message.UUID] = true
			}
			c.check(r.Settle(within(c.t, 20*time.Second), o))
		}
	}
	handle(50)
	slot := c.slot(topic)
	from := owner(slot)
	c.move(slot, from, (from+1)%3)
	handle(50)
	c.move(slot, (from+1)%3, from) // leaves the cluster as it was
	handle(50)
	stop()
	missing := map[string]bool{}
	for _, id := range <-published {
		if !handled[id] {
			missing[id] = true
		}
	}
	for len(missing) > 0 {
		d := c.receive(r)
		c.check(r.Settle(c.t.Context(), d.Ack()))
		delete(missing, d.Message.UUID)
	}
}

func deadLettersElsewhere(c *cluster) {
	cfg := redis.SubscriberConfig{Lease: time.Minute, DeadLetterTopic: func(string) string { return "elsewhere" }}
	r, pub := c.open(cfg, "user-events-2")
	c.check(pub.Publish("user-events-2", message.NewMessage("1", nil)))
	d := c.receive(r)
	err := r.Settle(within(c.t, 5*time.Second), d.DeadLetter(errors.New("bad")))
	if err == nil || !strings.Contains(err.Error(), "must share a hash tag, such as {user-events-2}") {
		c.t.Errorf("settle: %v", err)
	}
}

func topicsThatCannotBe(c *cluster) {
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: c.client})
	c.check(err)
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: c.client, Group: "g"})
	c.check(err)
	for _, topic := range []string{"a}b", "{}x"} {
		if _, err := sub.Receiver(topic); err == nil || !strings.Contains(err.Error(), "closes no hash tag") {
			c.t.Errorf("receive %s: %v", topic, err)
		}
		if err := pub.Publish(topic, message.NewMessage("1", nil)); err == nil || !strings.Contains(err.Error(), "closes no hash tag") {
			c.t.Errorf("publish to %s: %v", topic, err)
		}
	}
}
