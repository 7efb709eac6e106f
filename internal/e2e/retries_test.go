package e2e

import (
	"errors"
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
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// With envRetries set the test binary is a consumer that retries; see retrying.
const envRetries = "EVENTS_E2E_RETRIES"

const (
	retryAttempts = 20
	runsKey       = "e2e:runs" // hash: message -> how often its handler ran
	retriedKey    = "e2e:done" // set of the messages that were handled
)

// retrying consumes until SIGTERM. Messages whose number is 0 modulo 3 fail always, those
// with 1 fail three times. The first two waits are in process, the others the transport's.
func retrying(addr string) error {
	ctx, stop := listen()
	defer stop()
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{
		Client: client, Group: group, Lease: time.Second, ReclaimInterval: 200 * time.Millisecond, Block: 100 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	poisonQueue, err := middleware.PoisonQueue(middleware.PoisonConfig{MaxDeliveries: -1})
	if err != nil {
		return err
	}
	retry, err := middleware.Retry(middleware.RetryConfig{
		MaxAttempts: retryAttempts, InitialInterval: 5 * time.Millisecond, Multiplier: 3,
		MaxInterval: 100 * time.Millisecond, MaxInProcessDelay: 20 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Concurrency: 8, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	r.Use(poisonQueue, retry)
	err = r.HandleMessage("**", func(msg *message.Message) error {
		n, err := strconv.Atoi(msg.UUID)
		if err != nil {
			return err
		}
		runs, err := client.HIncrBy(msg.Context(), runsKey, msg.UUID, 1).Result()
		if err != nil {
			return err
		}
		if n%3 == 0 || n%3 == 1 && runs <= 3 {
			return errTemporary
		}
		return client.SAdd(msg.Context(), retriedKey, msg.UUID).Err()
	})
	if err != nil {
		return err
	}
	if err := r.Run(ctx); err != nil {
		return err
	}
	return errors.Join(sub.Close(), client.Close())
}

func startRetrying(t *testing.T, addr string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envRedis+"="+addr, envRetries+"=1")
	cmd.Stderr = os.Stderr
	if err := startListening(cmd); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestAttemptsAreCountedAndNothingIsLostThoughConsumersAreKilled(t *testing.T) {
	const n, kills = 240, 8
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	h := newHouse(t, n)
	procs := []*exec.Cmd{startRetrying(t, h.addr), startRetrying(t, h.addr)}
	t.Cleanup(func() {
		for _, p := range procs {
			if p.ProcessState == nil {
				_ = p.Process.Kill()
				_ = p.Wait() // It says that it was killed.
			}
		}
	})
	ctx := t.Context()
	for range kills {
		<-time.After(time.Duration(100+random.IntN(500)) * time.Millisecond)
		i := random.IntN(len(procs))
		h.check(procs[i].Process.Kill())
		_ = procs[i].Wait() // It says that it was killed.
		procs[i] = startRetrying(t, h.addr)
	}
	deadline := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	dead := transport.DeadLetterTopic("t")
	settled := func() bool {
		return h.client.SCard(ctx, retriedKey).Val()+h.client.XLen(ctx, dead).Val() >= n &&
			h.client.XPending(ctx, "t", group).Val().Count == 0 && h.client.ZCard(ctx, "{t}:delay:"+group).Val() == 0
	}
	for !settled() {
		if time.Now().After(deadline) {
			t.Fatalf("after 90 s: %d handled, %d dead letters, %d pending, %d delayed", h.client.SCard(ctx, retriedKey).Val(),
				h.client.XLen(ctx, dead).Val(), h.client.XPending(ctx, "t", group).Val().Count, h.client.ZCard(ctx, "{t}:delay:"+group).Val())
		}
		<-tick.C
	}
	for _, p := range procs {
		h.check(p.Process.Signal(syscall.SIGTERM))
		if err := p.Wait(); err != nil {
			t.Errorf("a consumer ended with %v", err)
		}
	}

	runs := h.client.HGetAll(ctx, runsKey).Val()
	letters, err := h.client.XRange(ctx, dead, "-", "+").Result()
	h.check(err)
	given := map[string]int{}
	exact := 0
	for _, l := range letters {
		msg, err := redis.Decode(l.Values)
		h.check(err)
		given[msg.UUID]++
		md := msg.Metadata
		attempts, err := strconv.Atoi(md[transport.MetadataFailureAttempts])
		h.check(err)
		ran, err := strconv.Atoi(runs[msg.UUID])
		h.check(err)
		if ran == attempts {
			exact++
		}
		// Of a process that is killed amid attempts the transport counts one, though there may
		// have been three; and one for each message that it had read ahead.
		if attempts < retryAttempts || ran > attempts+2*kills || ran < attempts-kills {
			t.Errorf("%s: %d attempts are counted, %d were made", msg.UUID, attempts, ran)
		}
		if !strings.Contains(md[transport.MetadataFailureReason], fmt.Sprintf("after %d attempts: ", attempts)) || md[transport.MetadataFailureHandler] != "**" ||
			md[transport.MetadataFailureTopic] != "t" || md[transport.MetadataFailureStored] == "" || md[transport.MetadataFailureTime] == "" || md[transport.MetadataFailureChain] == "" {
			t.Errorf("%s: described by %v", msg.UUID, md)
		}
	}
	for i := range n {
		id := strconv.Itoa(i)
		done := h.client.SIsMember(ctx, retriedKey, id).Val()
		if always := i%3 == 0; done == always || given[id] > 1 || (given[id] == 1) != always {
			t.Errorf("%s: handled %v, %d dead letters, %s runs", id, done, given[id], runs[id])
		}
	}
	t.Logf("%d dead letters, of %d the count is exact", len(letters), exact)
}
