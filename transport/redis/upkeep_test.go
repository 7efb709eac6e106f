package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func TestP3_ManyAreInFlightAndOneThatFailsWaitsWhileOthersFlow(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const inFlight, wait = 64, 300 * time.Millisecond
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g", Block: 50 * time.Millisecond, NackDelay: wait, MaxInFlight: inFlight})
	f.check(err)
	t.Cleanup(func() { f.check(sub.Close()) })
	f.check(f.pub.Publish("t", numbered(2*inFlight)...))
	msgs, err := sub.Subscribe(t.Context(), "t")
	f.check(err)
	failing := <-msgs
	for range inFlight - 1 { // None of them is acked.
		<-msgs
	}
	for round := range 3 {
		nacked, others := time.Now(), 0
		failing.Nack()
		for msg := range msgs {
			if msg.UUID == failing.UUID {
				failing = msg
				break
			}
			msg.Ack()
			others++
		}
		if took := time.Since(nacked); took < wait {
			t.Errorf("it came back after %v", took)
		}
		if round == 0 && others == 0 {
			t.Error("others wait for the one that fails")
		}
	}
	failing.Ack()
}

func TestAHandlerTenTimesAsLongAsItsLeaseIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	const lease = time.Second
	for range 3 {
		stalled := stalls()
		problem, stall := handleSlowly(newFixture(t), lease), stalled()
		if problem == "" {
			return
		}
		t.Logf("%s; the longest stall was %v", problem, stall)
		if stall < lease/3 { // Held up for longer, a process may lose its lease, and rightly so.
			break
		}
	}
	t.Error("it was not the only one")
}

// handleSlowly handles a message for ten leases, and returns what goes wrong.
func handleSlowly(f *fixture, lease time.Duration) (problem string) {
	t := f.t
	a := f.receiver(redis.SubscriberConfig{Consumer: "a", Lease: lease, ReclaimInterval: 50 * time.Millisecond})
	b := f.receiver(redis.SubscriberConfig{Consumer: "b", Lease: lease, ReclaimInterval: 50 * time.Millisecond})
	f.publish("slow")
	d, by := f.receiveOf(a, b)
	handled := time.After(10 * lease)
	ctx, cancel := context.WithCancel(t.Context())
	others := make(chan string, 2)
	var receiving sync.WaitGroup
	for _, r := range []transport.Receiver{a, b} {
		receiving.Go(func() {
			if page, err := r.Receive(ctx, 1); err == nil {
				others <- fmt.Sprintf("%s, attempt %d", page[0].Message.UUID, page[0].Attempt)
			}
		})
	}
	select {
	case <-handled:
	case <-d.Message.Context().Done():
		problem = fmt.Sprintf("its context has ended: %v", context.Cause(d.Message.Context()))
	}
	f.check(by.Settle(t.Context(), d.Ack()))
	cancel()
	receiving.Wait()
	if len(others) > 0 {
		problem = "it was delivered again: " + <-others
	}
	if n := f.pending(); n != 0 && problem == "" {
		problem = fmt.Sprintf("%d entries are pending", n)
	}
	return problem
}

// A consumer that has nothing to do, with the defaults of everything.
func TestP16_AnIdleConsumerSendsAtMostTwoCommandsASecond(t *testing.T) {
	t.Parallel()
	for _, topics := range [][]string{{"t"}, {"t", "u", "v", "w", "x"}} {
		t.Run(fmt.Sprint(len(topics)), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			p := newProxy(t, f.server.Addr)
			sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: p.client(), Group: "g", Logger: f.logger()})
			f.check(err)
			r, err := sub.Receiver(topics...)
			f.check(err)
			ctx, cancel := context.WithCancel(t.Context())
			received := make(chan error, 1)
			go func() {
				_, err := r.Receive(ctx, 1)
				received <- err
			}()
			// What opening costs is over with the first read.
			f.eventually("it has begun", func() bool { return p.count("xreadgroup") == 2 })
			before, begun := p.count(""), time.Now()
			f.eventually("it has read for a while", func() bool { return p.count("xreadgroup") == 9 })
			n, took := p.count("")-before, time.Since(begun)
			t.Logf("%d topics: %d commands in %v", len(topics), n, took)
			if float64(n) > 2*took.Seconds()+1 {
				t.Errorf("%d commands in %v", n, took)
			}
			cancel()
			if err := <-received; !errors.Is(err, context.Canceled) {
				t.Errorf("receive: %v", err)
			}
			f.check(r.Close())
		})
	}
}

// Close is called by many at a time, while a read waits for messages. On a busy machine
// one round may take longer; not all of them.
func TestP5_CloseTakesNoLongerThanTheBlockTimeHoweverManyCallIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const block, limit = 300 * time.Millisecond, 100 * time.Millisecond
	best := time.Hour
	for range 10 {
		r := f.open(redis.SubscriberConfig{Block: block}, "t")
		f.eventually("a read waits", func() bool { return f.blocked() > 0 })
		start := time.Now()
		var closing sync.WaitGroup
		for range 8 {
			closing.Go(func() {
				if err := errors.Join(r.Close(), r.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		closing.Wait()
		if best = min(best, time.Since(start)); best <= block+limit {
			break
		}
	}
	if best > block+limit {
		t.Errorf("took at least %v, want at most %v", best, block+limit)
	}
	f.check(f.client.Ping(t.Context()).Err()) // The client is the caller's still.
}

// blocked is how many clients wait for messages.
func (f *fixture) blocked() (n int) {
	f.t.Helper()
	_, after, _ := strings.Cut(f.client.Info(f.t.Context(), "clients").Val(), "blocked_clients:")
	_, err := fmt.Sscan(after, &n)
	f.check(err)
	return n
}

func TestP4_ClosingFromManySidesLeavesTheClientToItsOwner(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g", Block: 20 * time.Millisecond})
	f.check(err)
	msgs, err := sub.Subscribe(t.Context(), "t")
	f.check(err)
	r, err := sub.Receiver("u")
	f.check(err)
	f.publish("1")
	<-msgs // It is open when all is closed.
	var closing sync.WaitGroup
	for range 4 {
		for _, c := range []interface{ Close() error }{f.pub, sub, r} {
			closing.Go(func() {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	closing.Wait()
	f.check(f.client.Ping(t.Context()).Err())
	if d := f.receive(f.receiver(redis.SubscriberConfig{})); d.Message.UUID != "1" || d.Attempt != 1 {
		t.Errorf("received %s, attempt %d", d.Message.UUID, d.Attempt)
	}
}

// More are pending than one command of reclaiming deals with.
func TestReclaimingPagesThroughAnyNumberOfPendingEntries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const n, share = 2500, 2 // every second one is somebody's who lives
	ctx := t.Context()
	f.check(f.pub.Publish("t", numbered(n)...))
	f.check(f.client.XGroupCreate(ctx, "t", "g", "0").Err())
	f.check(f.client.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: "g", Consumer: "crashed", Streams: []string{"t", ">"}, Count: n}).Err())
	pipe := f.client.Pipeline()
	for i, e := range f.entries("t") {
		consumer, idle := "crashed", time.Hour
		if i%share == 0 {
			consumer, idle = "alive", 0
		}
		pipe.Do(ctx, "XCLAIM", "t", "g", consumer, 0, e.ID, "IDLE", idle.Milliseconds(), "JUSTID")
	}
	_, err := pipe.Exec(ctx)
	f.check(err)
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute, ReclaimInterval: 20 * time.Millisecond, Prefetch: 100})
	got := map[string]bool{}
	for len(got) < n-n/share {
		page, err := r.Receive(within(t, 20*time.Second), n)
		f.check(err)
		acks := make([]transport.Outcome, len(page))
		for i, d := range page {
			if acks[i] = d.Ack(); got[d.Message.UUID] || d.Attempt != 2 {
				t.Errorf("%s came twice, or is attempt %d", d.Message.UUID, d.Attempt)
			}
			got[d.Message.UUID] = true
		}
		f.check(r.Settle(ctx, acks...))
	}
	if left := f.pending(); left != n/share {
		t.Errorf("%d are pending, want the %d of the one that lives", left, n/share)
	}
}
