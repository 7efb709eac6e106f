package router

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
	"pgregory.net/rapid"
)

// modelRun is one run of a service with an ordered lane over 64 keys, some of
// which fail, on virtual time.
type modelRun struct {
	seed        uint64
	concurrency int
	policy      FailurePolicy
	maxAttempts int
	failing     map[string]int // key -> percentage of its attempts that fail
	mu          sync.Mutex
	begun       map[string][]int // key -> messages in the order of their first attempts
	running     map[string]bool
	last        map[string]time.Duration // key -> when its last message was acked
	broken      []string
}

const modelKeys, perKey = 64, 20

func (m *modelRun) handle(epoch time.Time) message.NoPublishHandlerFunc {
	return func(msg *message.Message) error {
		var key string
		var n int
		if _, err := fmt.Sscanf(msg.UUID, "%s %d", &key, &n); err != nil {
			return events.Permanent(err)
		}
		d, _ := transport.DeliveryFromContext(msg.Context())
		m.mu.Lock()
		seen := m.begun[key]
		switch {
		case m.running[key]:
			m.broken = append(m.broken, fmt.Sprintf("two handlers at a time for %s", key))
		case len(seen) > 0 && seen[len(seen)-1] == n: // tried again
		case len(seen) > 0 && n < seen[len(seen)-1]:
			m.broken = append(m.broken, fmt.Sprintf("%s after message %d", msg.UUID, seen[len(seen)-1]))
		default:
			m.begun[key] = append(seen, n)
		}
		m.running[key] = true
		m.mu.Unlock()
		// The draw depends on what is tried, not on who is first.
		draw := rand.New(rand.NewPCG(m.seed, uint64(n)<<32|uint64(d.Attempt)<<16|uint64(len(key))<<8|uint64(key[len(key)-1])))
		<-time.After(time.Duration(5+draw.IntN(10)) * time.Millisecond)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.running[key] = false
		if draw.IntN(100) < m.failing[key] {
			return fmt.Errorf("attempt %d of %s failed", d.Attempt, msg.UUID)
		}
		m.last[key] = time.Since(epoch)
		return nil
	}
}

// run publishes all messages at a steady pace and returns what is not settled at the end.
func (m *modelRun) run(t *testing.T) (stats Stats, unsettled int) {
	m.begun, m.running, m.last = map[string][]int{}, map[string]bool{}, map[string]time.Duration{}
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	must(t, err)
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
	must(t, err)
	r, err := New(Config{Subscriber: sub, Topics: []string{"t"}, Logger: quiet, RetryDelay: func(int) time.Duration { return 200 * time.Millisecond }})
	must(t, err)
	lane, err := r.Lane(LaneConfig{
		Name: "orders", Concurrency: m.concurrency, OnFailure: m.policy, MaxAttempts: m.maxAttempts,
		OrderBy: func(msg *message.Message) string { key, _, _ := strings.Cut(msg.UUID, " "); return key },
	})
	must(t, err)
	epoch := time.Now()
	must(t, lane.HandleMessage("**", m.handle(epoch)))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for n := range perKey {
		for k := range modelKeys {
			msg := message.NewMessage(fmt.Sprintf("key%d %d", k, n), []byte("{}"))
			must(t, pub.Publish("t", msg))
		}
		<-time.After(100 * time.Millisecond)
	}
	<-time.After(10 * time.Minute)
	stop()
	must(t, <-ended)
	return r.Stats(), broker.Unsettled("t", "g")
}

// healthy is when the last of the messages of keys that do not fail was acked.
func (m *modelRun) healthy(failing map[string]int) (last time.Duration) {
	for key, at := range m.last {
		if failing[key] == 0 {
			last = max(last, at)
		}
	}
	return last
}

func TestModelOfAnOrderedLane(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &modelRun{
			seed:        rapid.Uint64().Draw(rt, "seed"),
			concurrency: rapid.IntRange(8, 32).Draw(rt, "concurrency"),
			policy:      rapid.SampledFrom([]FailurePolicy{SkipMessage, ParkKey, DeadLetterKey}).Draw(rt, "policy"),
			maxAttempts: rapid.IntRange(0, 5).Draw(rt, "max attempts"),
			failing:     map[string]int{},
		}
		for range rapid.IntRange(0, 16).Draw(rt, "failing keys") {
			m.failing[fmt.Sprintf("key%d", rapid.IntRange(0, modelKeys-1).Draw(rt, "key"))] = rapid.SampledFrom([]int{20, 50, 100}).Draw(rt, "percent")
		}
		undisturbed := &modelRun{seed: m.seed, concurrency: m.concurrency}
		synctest.Test(t, func(t *testing.T) { undisturbed.run(t) })
		synctest.Test(t, func(t *testing.T) {
			stats, unsettled := m.run(t)
			if len(m.broken) > 0 {
				rt.Errorf("order broken %d times: %v", len(m.broken), m.broken[:min(len(m.broken), 3)])
			}
			if total := int(stats.Acked+stats.DeadLettered) + unsettled; total != modelKeys*perKey {
				rt.Errorf("%d of %d messages are accounted for: %+v, %d unsettled", total, modelKeys*perKey, stats, unsettled)
			}
			for k := range modelKeys {
				key := fmt.Sprintf("key%d", k)
				if m.failing[key] == 0 && len(m.begun[key]) != perKey {
					rt.Errorf("%d messages of %s were handled, want %d", len(m.begun[key]), key, perKey)
				}
			}
		})
		// Throughput is messages by time, so 90 % of it takes 1/0.9 of the time.
		alone, beside := undisturbed.healthy(m.failing), m.healthy(m.failing)
		if float64(beside) > float64(alone)/0.9 {
			rt.Errorf("healthy keys took %s beside %d failing ones, %s without", beside, len(m.failing), alone)
		}
	})
}
