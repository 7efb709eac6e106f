package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// envService makes the test binary a service that handles "jobs" until SIGTERM.
const envService = "EVENTS_E2E_SERVICE"

const (
	callsKey    = "e2e:calls"    // hash: event id -> how often its handler began
	attemptsKey = "e2e:attempts" // hash: event id -> an attempt above 1
	awayKey     = "e2e:away"     // exists while the shop is away
)

var errAway = errors.New("the shop is away")

const (
	atATime = 8
	slow    = 3 * time.Second // of a slow job; longer than the drain deadline
)

// serve runs jobs by their types: quick, slow, shop and hang.
func serve(addr string) error {
	ctx, stop := listen()
	defer stop()
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelError}))
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: group, Prefetch: 50, Block: 100 * time.Millisecond, Logger: logger})
	if err != nil {
		return err
	}
	r, err := router.New(router.Config{
		Subscriber: sub, Topics: []string{"jobs"}, Concurrency: atATime, Logger: logger,
		DrainTimeout: time.Second, HandlerTimeout: 10 * time.Second, StuckGrace: 200 * time.Millisecond,
		RetryDelay: func(int) time.Duration { return 50 * time.Millisecond },
	})
	if err != nil {
		return err
	}
	shop, err := r.Lane(router.LaneConfig{Name: "shop", Concurrency: 2, KillSwitch: router.KillSwitchConfig{
		FailureRatio: 1, Probe: 100 * time.Millisecond, OpenOn: func(err error) bool { return errors.Is(err, errAway) },
	}})
	if err != nil {
		return err
	}
	hang, err := r.Lane(router.LaneConfig{Name: "hang", Concurrency: 1, HandlerTimeout: 200 * time.Millisecond})
	if err != nil {
		return err
	}
	poison, err := middleware.PoisonQueue(middleware.PoisonConfig{})
	if err != nil {
		return err
	}
	r.Use(poison, noting(client))
	effect := func(msg *message.Message) error {
		return client.HIncrBy(msg.Context(), effectsKey, msg.UUID, 1).Err()
	}
	err = errors.Join(
		r.HandleMessage("job.quick", func(msg *message.Message) error {
			<-time.After(5 * time.Millisecond) // at work
			return effect(msg)
		}),
		r.HandleMessage("job.slow", func(msg *message.Message) error {
			select {
			case <-time.After(slow):
				return effect(msg)
			case <-msg.Context().Done():
				return context.Cause(msg.Context())
			}
		}),
		shop.HandleMessage("job.shop", func(msg *message.Message) error {
			if n, err := client.Exists(msg.Context(), awayKey).Result(); err != nil || n > 0 {
				return errors.Join(errAway, err)
			}
			return effect(msg)
		}),
		hang.HandleMessage("job.hang", func(msg *message.Message) error {
			if d, _ := transport.DeliveryFromContext(msg.Context()); d.Attempt == 1 && msg.UUID == "stuck" {
				<-make(chan struct{})
			}
			return effect(msg)
		}),
	)
	if err != nil {
		return err
	}
	return errors.Join(r.Run(ctx), sub.Close(), client.Close())
}

// noting records calls and attempts.
func noting(client *goredis.Client) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			d, _ := transport.DeliveryFromContext(msg.Context())
			if err := client.HIncrBy(msg.Context(), callsKey, msg.UUID, 1).Err(); err != nil {
				return nil, events.RetryAfter(0, err)
			}
			if d.Attempt > 1 {
				if err := client.HSet(msg.Context(), attemptsKey, msg.UUID, d.Attempt).Err(); err != nil {
					return nil, events.RetryAfter(0, err)
				}
			}
			return next(msg)
		}
	}
}

func startService(t *testing.T, addr string) *consumer {
	t.Helper()
	c := &consumer{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), envRedis+"="+addr, envService+"=1")
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	if err := startListening(c.cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil { // the test failed before it stopped it
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
	})
	return c
}

func onService(t *testing.T) (addr string, client *goredis.Client, publish func(id, eventType string)) {
	t.Helper()
	addr = redisserver.New(t).Addr
	client = goredis.NewClient(&goredis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return addr, client, func(id, eventType string) {
		t.Helper()
		msg := message.NewMessage(id, []byte("{}"))
		msg.Metadata[events.MetadataType] = eventType
		if err := pub.Publish("jobs", msg); err != nil {
			t.Fatal(err)
		}
	}
}

// until waits for a condition.
func until(t *testing.T, what string, fulfilled func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !fulfilled() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func hash(t *testing.T, client *goredis.Client, key string) map[string]string {
	t.Helper()
	all, err := client.HGetAll(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func deadLetters(t *testing.T, client *goredis.Client) int64 {
	t.Helper()
	n, err := client.XLen(t.Context(), transport.DeadLetterTopic("jobs")).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestP19_ARollingDeployLosesNothingAndBurnsNoAttempt(t *testing.T) {
	addr, client, publish := onService(t)
	const consumers = 3
	var old []*consumer
	for range consumers {
		old = append(old, startService(t, addr))
	}
	n := 0
	batch := func(jobs int) {
		for range jobs {
			kind := "job.quick"
			if n%100 == 50 {
				kind = "job.slow"
			}
			publish(fmt.Sprint(n), kind)
			n++
		}
	}
	handled := func() int { return len(hash(t, client, effectsKey)) }
	batch(500)
	until(t, "the first consumers are at work", func() bool { return handled() > 100 })
	for _, c := range old {
		batch(500) // There is a backlog at each step.
		startService(t, addr).keep(t)
		c.stop(t)
	}
	until(t, "all jobs are done", func() bool { return handled() == n })
	until(t, "all jobs are settled", func() bool {
		open, err := unsettled(t.Context(), client)
		return err == nil && open == 0
	})
	twice := 0
	for _, times := range hash(t, client, effectsKey) {
		if times != "1" {
			twice++
		}
	}
	again := 0
	for _, times := range hash(t, client, callsKey) {
		if times != "1" {
			again++
		}
	}
	t.Logf("%d jobs, %d were begun again, %d had their effect twice", n, again, twice)
	if most := consumers * atATime; twice > most || again > most {
		t.Errorf("%d had their effect twice, %d were begun again, want at most what was in flight, %d", twice, again, most)
	}
	if burned := hash(t, client, attemptsKey); len(burned) > 0 || deadLetters(t, client) > 0 {
		t.Errorf("attempts were burned: %v; %d dead letters", burned, deadLetters(t, client))
	}
}

// keep stops a consumer at the end of the test.
func (c *consumer) keep(t *testing.T) {
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Signal(syscall.SIGTERM)
			_ = c.cmd.Wait()
		}
	})
}

func TestP17_AnOpenKillSwitchPausesAndMakesNoDeadLetters(t *testing.T) {
	addr, client, publish := onService(t)
	if err := client.Set(t.Context(), awayKey, 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	c := startService(t, addr)
	const jobs = 300
	for i := range jobs {
		publish(fmt.Sprint(i), "job.shop")
	}
	// What fails while the switch is open goes to the end of the lane.
	until(t, "several jobs are tried", func() bool { return len(hash(t, client, callsKey)) >= 3 })
	publish("other", "job.quick")
	until(t, "other lanes go on", func() bool { return hash(t, client, effectsKey)["other"] == "1" })
	if n := deadLetters(t, client); n > 0 {
		t.Fatalf("%d dead letters", n)
	}
	if err := client.Del(t.Context(), awayKey).Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "all jobs are done", func() bool { return len(hash(t, client, effectsKey)) == jobs+1 })
	c.stop(t)
	if burned := hash(t, client, attemptsKey); len(burned) > 0 || deadLetters(t, client) > 0 {
		t.Errorf("attempts were burned: %v; %d dead letters", burned, deadLetters(t, client))
	}
}

func TestP20_AStuckHandlerLosesItsSlotAndItsJobIsDoneByAnother(t *testing.T) {
	addr, client, publish := onService(t)
	c := startService(t, addr)
	publish("stuck", "job.hang")
	publish("next", "job.hang")
	until(t, "both jobs are done", func() bool { return len(hash(t, client, effectsKey)) == 2 })
	if got := hash(t, client, attemptsKey); got["stuck"] != "2" || got["next"] != "" {
		t.Errorf("attempts %v", got)
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	err := c.cmd.Wait()
	if out := c.out.String(); err == nil || !strings.Contains(out, "handler is stuck") || !strings.Contains(out, "serve.func") || !strings.Contains(out, "1 handlers were still running") {
		t.Errorf("ended with %v: %s", err, out)
	}
}
