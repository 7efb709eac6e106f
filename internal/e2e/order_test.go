package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
	"pgregory.net/rapid"
)

// envOrders makes the test binary a service that handles orders, in order by key, until
// SIGTERM. It is a member of two groups: to calm every event is fine, to storm those of some keys fail.
const envOrders = "EVENTS_E2E_ORDERS"

const (
	orderKeys       = 64
	orderPartitions = 16
	orderProcesses  = 4
	orderLease      = 1200 * time.Millisecond
	orderPace       = 100 * time.Millisecond // between two events of a key
	whenKey         = "e2e:when:"            // zset of a group: event -> when it was first handled, in µs
	doneKey         = "e2e:done:"            // list of a group and a key: events in the order in which they were handled
	ownersKey       = "e2e:owners:"          // hash of a group: partition -> process
)

var orderGroups = []string{"calm", "storm"}

// serveOrders handles orders; failing is in JSON, by key, how many percent of its attempts fail.
func serveOrders(addr, failing string) error {
	ctx, stop := listen()
	defer stop()
	percent := map[string]int{}
	if err := json.Unmarshal([]byte(failing), &percent); err != nil {
		return err
	}
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelWarn}))
	ended := make(chan error, len(orderGroups))
	for _, group := range orderGroups {
		sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: group, Exclusive: true, Lease: orderLease, Block: 50 * time.Millisecond, Logger: logger})
		if err != nil {
			return err
		}
		r, err := router.New(router.Config{
			Subscriber: sub, Topics: transport.PartitionTopics("orders", orderPartitions), Logger: logger,
			DrainTimeout: time.Second, RetryDelay: func(int) time.Duration { return 60 * time.Millisecond },
		})
		if err != nil {
			return err
		}
		lane, err := r.Lane(router.LaneConfig{Name: "orders", Concurrency: 2, OnFailure: router.ParkKey, OrderBy: orderKey})
		if err != nil {
			return err
		}
		if group == "calm" {
			percent = nil
		} else if err := json.Unmarshal([]byte(failing), &percent); err != nil {
			return err
		}
		if err := lane.HandleMessage("**", order(client, group, percent)); err != nil {
			return err
		}
		go func() { ended <- errors.Join(r.Run(ctx), sub.Close()) }()
	}
	return errors.Join(<-ended, <-ended, client.Close())
}

// orderKey is the key of "key17 5".
func orderKey(msg *message.Message) string {
	key, _, _ := strings.Cut(msg.UUID, " ")
	return key
}

var errOrder = errors.New("out of stock")

func order(client *goredis.Client, group string, percent map[string]int) message.NoPublishHandlerFunc {
	return func(msg *message.Message) error {
		ctx := msg.Context()
		select {
		case <-time.After(time.Duration(1+rand.IntN(4)) * time.Millisecond): // at work
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if rand.IntN(100) < percent[orderKey(msg)] {
			return errOrder
		}
		key, n, _ := strings.Cut(msg.UUID, " ")
		d, _ := transport.DeliveryFromContext(ctx)
		_, err := client.TxPipelined(ctx, func(pipe goredis.Pipeliner) error {
			pipe.RPush(ctx, doneKey+group+":"+key, n)
			pipe.ZAddNX(ctx, whenKey+group, goredis.Z{Score: float64(time.Now().UnixMicro()), Member: msg.UUID})
			pipe.HSet(ctx, ownersKey+group, d.Topic, os.Getpid())
			return nil
		})
		return err
	}
}

// orders is a run of the model.
type orders struct {
	rt        *rapid.T
	t         *testing.T
	addr      string
	client    *goredis.Client
	table     *router.Table
	failing   map[string]int
	processes []*consumer
	n         int // events published so far for each key
}

func (o *orders) check(err error) {
	if err != nil {
		o.rt.Fatal(err)
	}
}

func (o *orders) start() *consumer {
	failing, err := json.Marshal(o.failing)
	o.check(err)
	c := &consumer{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), envRedis+"="+o.addr, envOrders+"="+string(failing))
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	o.check(startListening(c.cmd))
	return c
}

// publish publishes the next event of every key.
func (o *orders) publish() {
	msgs := make([]*message.Message, orderKeys)
	for k := range msgs {
		msgs[k] = message.NewMessage(fmt.Sprintf("key%d %d", k, o.n), []byte("{}"))
		msgs[k].Metadata[events.MetadataType] = "order.changed"
	}
	o.check(o.table.Publish("orders", msgs...))
	o.n++
}

// until waits for a condition, and publishes at the pace meanwhile if it is told to.
func (o *orders) until(what string, publishing bool, fulfilled func() bool) {
	limit := time.After(90 * time.Second)
	tick := time.NewTicker(orderPace)
	defer tick.Stop()
	for !fulfilled() {
		select {
		case <-tick.C:
			if publishing {
				o.publish()
			}
		case <-limit:
			o.show()
			o.rt.Fatalf("waited in vain: %s", what)
		}
	}
}

// show says where the groups are.
func (o *orders) show() {
	ctx := o.t.Context()
	for _, group := range orderGroups {
		for _, topic := range transport.PartitionTopics("orders", orderPartitions) {
			members := o.client.HGetAll(ctx, "{"+topic+"}:members:"+group).Val()
			if open := o.client.XPending(ctx, topic, group).Val(); open != nil {
				o.t.Logf("%s, %s: owner %q of %d members, pending %v", group, topic, members[""], len(members)-1, open.Consumers)
			}
		}
		o.t.Logf("%s: %d of %d are handled", group, o.client.ZCard(ctx, whenKey+group).Val(), o.n*orderKeys)
	}
	o.t.Logf("the server's clock: %v", o.client.Time(ctx).Val().UnixMilli())
	for _, c := range o.processes {
		o.t.Logf("process %d: %s", c.cmd.Process.Pid, c.out.String())
	}
}

// shared reports whether each process has as many partitions of both groups as the others.
func (o *orders) shared() bool {
	for _, group := range orderGroups {
		count := map[string]int{}
		for _, pid := range o.client.HGetAll(o.t.Context(), ownersKey+group).Val() {
			count[pid]++
		}
		for _, n := range count {
			if n != orderPartitions/orderProcesses {
				return false
			}
		}
		if len(count) != orderProcesses {
			return false
		}
	}
	return true
}

func (o *orders) handled() bool {
	for _, group := range orderGroups {
		if o.client.ZCard(o.t.Context(), whenKey+group).Val() < int64(o.n*orderKeys) {
			return false
		}
	}
	return true
}

// steady publishes for a while at the pace, and returns how long each group takes for the keys that do not fail.
func (o *orders) steady(rounds int) (took map[string]time.Duration) {
	first, begun := o.n, time.Now()
	o.until("everything is published", true, func() bool { return o.n == first+rounds })
	o.t.Logf("published for %v", time.Since(begun))
	o.until("everything is handled", false, o.handled)
	took = map[string]time.Duration{}
	for _, group := range orderGroups {
		for _, z := range o.client.ZRangeWithScores(o.t.Context(), whenKey+group, 0, -1).Val() {
			key, n, _ := strings.Cut(z.Member.(string), " ")
			if number, err := strconv.Atoi(n); err == nil && number >= first && o.failing[key] == 0 {
				took[group] = max(took[group], time.UnixMicro(int64(z.Score)).Sub(begun))
			}
		}
	}
	return took
}

// fault is what befalls one of the processes.
type fault struct {
	After  int // events of each key since the last one
	Victim int
	Kind   string
}

func (o *orders) suffer(f fault) {
	first := o.n
	o.until("events are published", true, func() bool { return o.n == first+f.After })
	c := o.processes[f.Victim]
	switch f.Kind {
	case "kill":
		o.check(c.cmd.Process.Kill())
		_ = c.cmd.Wait() // It says that it was killed.
		o.processes[f.Victim] = o.start()
	case "restart":
		o.processes[f.Victim] = o.start()
		o.check(c.cmd.Process.Signal(syscall.SIGTERM))
		if err := c.cmd.Wait(); err != nil {
			o.rt.Fatalf("the process ended with %v: %s", err, c.out.String())
		}
	case "pause": // for longer than its leases
		o.check(c.cmd.Process.Signal(syscall.SIGSTOP))
		first := o.n
		o.until("events are published", true, func() bool { return o.n == first+int(2*orderLease/orderPace) })
		o.check(c.cmd.Process.Signal(syscall.SIGCONT))
	}
}

// reckon checks that all was handled, and in order by key. An event may be handled
// again, never for the first time before one that was published earlier.
func (o *orders) reckon() (again int) {
	for _, group := range orderGroups {
		for k := range orderKeys {
			done := o.client.LRange(o.t.Context(), fmt.Sprintf("%s%s:key%d", doneKey, group, k), 0, -1).Val()
			next := 0
			for i, text := range done {
				n, err := strconv.Atoi(text)
				o.check(err)
				switch {
				case n == next:
					next++
				case n > next:
					o.rt.Fatalf("group %s, key%d: event %d was handled, and %d before it was not: …%v", group, k, n, next, done[max(0, i-10):i+1])
				default:
					again++
				}
			}
			if next != o.n {
				o.rt.Fatalf("group %s, key%d: %d of %d events were handled", group, k, next, o.n)
			}
		}
	}
	return again
}

// TestModelOfOrderAcrossProcesses runs a service of four processes on a real server. Some keys
// fail at random, and processes are killed, paused for longer than their leases, and restarted.
// Run it more often with -rapid.checks.
func TestModelOfOrderAcrossProcesses(t *testing.T) {
	checks := flag.Lookup("rapid.checks")
	if checks.Value.String() == checks.DefValue {
		if err := checks.Value.Set("2"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = checks.Value.Set(checks.DefValue) }()
	}
	rapid.Check(t, func(rt *rapid.T) {
		o := &orders{rt: rt, t: t, failing: map[string]int{}}
		for range rapid.IntRange(4, 16).Draw(rt, "failing keys") {
			o.failing[fmt.Sprintf("key%d", rapid.IntRange(0, orderKeys-1).Draw(rt, "key"))] = rapid.SampledFrom([]int{20, 50}).Draw(rt, "percent")
		}
		faults := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) fault {
			return fault{rapid.IntRange(1, 15).Draw(rt, "after"), rapid.IntRange(0, orderProcesses-1).Draw(rt, "victim"), rapid.SampledFrom([]string{"kill", "kill", "pause", "restart"}).Draw(rt, "kind")}
		}), 3, 6).Draw(rt, "faults")

		server, err := redisserver.Start(t.Context())
		o.check(err)
		defer server.Close()
		o.addr = server.Addr
		o.client = goredis.NewClient(&goredis.Options{Addr: o.addr})
		defer o.client.Close()
		pub, err := redis.NewPublisher(redis.PublisherConfig{Client: o.client})
		o.check(err)
		o.table, err = router.NewTable(router.TableConfig{
			Default: "redis", Transports: map[string]message.Publisher{"redis": pub},
			Routes: []router.Route{{Pattern: "order.*", Transport: "redis", Partitions: orderPartitions, PartitionBy: orderKey}},
		})
		o.check(err)
		for range orderProcesses {
			o.processes = append(o.processes, o.start())
		}
		defer func() {
			for _, c := range o.processes {
				_ = c.cmd.Process.Kill()
				_ = c.cmd.Wait()
			}
		}()

		o.until("the processes share the partitions", true, o.shared)
		o.until("everything is handled", false, o.handled)
		took := o.steady(40)
		t.Logf("healthy keys took %v beside %d failing ones, %v without", took["storm"], len(o.failing), took["calm"])
		// Throughput is messages by time, so 90 % of it takes 1/0.9 of the time.
		if float64(took["storm"]) > float64(took["calm"])/0.9 {
			rt.Errorf("healthy keys took %v beside %d failing ones, %v without", took["storm"], len(o.failing), took["calm"])
		}
		for _, f := range faults {
			o.suffer(f)
		}
		o.until("everything is handled", false, o.handled)
		again := o.reckon()
		kinds := map[string]int{}
		for _, f := range faults {
			kinds[f.Kind]++
		}
		t.Logf("%d events of %d keys, in order in both groups; %d were handled again; %v", o.n*orderKeys, orderKeys, again, kinds)
	})
}
