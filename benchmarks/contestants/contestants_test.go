package contestants_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/logistically/events/benchmarks/contestants"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/internal/redisserver"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peers are the contestants that run in this process.
func peers() []harness.Contestant {
	return []harness.Contestant{
		contestants.Redisstream(), contestants.RedisstreamRouter(), contestants.RedisstreamChain(),
		contestants.Gochannel(), contestants.GochannelRouter(),
		contestants.Asynq(),
		contestants.GoRedis(), contestants.GoRedisAutoPipeline(),
		contestants.RiverSQLite(),
	}
}

func TestEachPeerDeliversAllAndBringsBackWhatFailed(t *testing.T) {
	server := redisserver.New(t, "--appendonly", "no")
	for i, c := range peers() {
		t.Run(c.Name, func(t *testing.T) {
			if c.Library == "" || c.Open == nil {
				t.Fatalf("incomplete: %+v", c)
			}
			env := harness.Env{Topic: fmt.Sprintf("topic-%d", i), Dir: t.TempDir(), Load: harness.Load{Callers: callers, Workers: 8, Fails: failEvery}}
			if c.Redis {
				env.Redis = server.Addr
			}
			system, err := c.Open(t.Context(), env)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := system.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			publishAll(t, system)
			if n, err := system.Stored(t.Context()); n != messages || err != nil {
				t.Errorf("stored %d, %v, want %d", n, err, messages)
			}
			handleAll(t, system)
		})
	}
}

const (
	messages  = 300
	callers   = 4
	failEvery = 10 // one in so many messages fails at its first attempt
)

func body(n int) []byte { return fmt.Appendf(nil, `{"n":%d}`, n) }

// publishAll publishes the first half one by one and the rest in calls of 50.
func publishAll(t *testing.T, system harness.System) {
	t.Helper()
	var calls [][][]byte
	for n := 0; n < messages/2; n++ {
		calls = append(calls, [][]byte{body(n)})
	}
	for n := messages / 2; n < messages; n += 50 {
		var bulk [][]byte
		for i := range 50 {
			bulk = append(bulk, body(n+i))
		}
		calls = append(calls, bulk)
	}
	var running sync.WaitGroup
	for c := range callers {
		running.Go(func() {
			for i := c; i < len(calls); i += callers {
				if err := system.Publish(t.Context(), calls[i]); err != nil {
					t.Errorf("publish call %d: %v", i, err)
				}
			}
		})
	}
	running.Wait()
}

// handleAll consumes until every message was handled, and then ends the consumer.
func handleAll(t *testing.T, system harness.System) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	attempts := map[string]int{}
	handled := map[string]bool{}
	complete := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- system.Consume(ctx, "group", func(_ context.Context, body []byte) error {
			mu.Lock()
			defer mu.Unlock()
			attempts[string(body)]++
			var n int
			if _, err := fmt.Sscanf(string(body), `{"n":%d}`, &n); err != nil {
				t.Errorf("body %q: %v", body, err)
			}
			if n%failEvery == 0 && attempts[string(body)] == 1 {
				return errors.New("fails at the first attempt")
			}
			if handled[string(body)] {
				return nil // at least once
			}
			handled[string(body)] = true
			if len(handled) == messages {
				close(complete)
			}
			return nil
		})
	}()
	select {
	case <-complete:
	case err := <-ended:
		t.Fatalf("consume ended by itself: %v", err)
	case <-time.After(30 * time.Second):
		mu.Lock()
		t.Errorf("%d of %d messages were handled in 30 s", len(handled), messages)
		mu.Unlock()
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("consume: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("consume did not return within 5 s after its context ended")
	}
	mu.Lock()
	defer mu.Unlock()
	for n := 0; n < messages; n += failEvery {
		if got := attempts[string(body(n))]; got < 2 {
			t.Errorf("message %d failed at first and was tried %d times", n, got)
		}
	}
}
