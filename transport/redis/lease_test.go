package redis_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// claim makes an entry of topic t a consumer's, as if it had been that for a time.
func (f *fixture) claim(consumer, id string, idle time.Duration) {
	f.t.Helper()
	args := []any{"XCLAIM", "t", "g", consumer, 0, id, "IDLE", idle.Milliseconds()}
	if consumer == "me" { // its own lease grows old, and nobody has it in between
		args = append(args, "JUSTID")
	}
	f.check(f.client.Do(f.t.Context(), args...).Err())
}

func lost(d *transport.Delivery) bool {
	return errors.Is(context.Cause(d.Message.Context()), transport.ErrLeaseLost)
}

func TestAfterAStallLongerThanTheLeaseWhatIsHeldIsNotDeliveredAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const lease = 300 * time.Millisecond
	r := f.receiver(redis.SubscriberConfig{Lease: lease, ReclaimInterval: 10 * time.Millisecond})
	f.publish("1", "2", "3")
	held := []*transport.Delivery{f.receive(r), f.receive(r), f.receive(r)}
	f.check(f.server.Signal(syscall.SIGSTOP))
	<-time.After(2 * lease) // A lease is a time on the server's clock.
	f.check(f.server.Signal(syscall.SIGCONT))
	looks := f.calls("xpending") + 10 // two of each round of reclaiming
	f.eventually("reclaiming goes on", func() bool { return f.calls("xpending") >= looks })
	f.publish("marker")
	if d := f.receive(r); d.Message.UUID != "marker" {
		t.Errorf("%s was delivered again, as attempt %d", d.Message.UUID, d.Attempt)
	}
	for _, d := range held {
		if err := context.Cause(d.Message.Context()); err != nil {
			t.Errorf("the context of %s has ended: %v", d.Message.UUID, err)
		}
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	if n := f.pending(); n != 1 {
		t.Errorf("%d entries are pending, want the marker", n)
	}
}

func TestALeaseThatRanOutUnnoticedIsRenewed(t *testing.T) {
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{Consumer: "me", Lease: time.Minute})
	f.publish("1")
	d := f.receive(r)
	f.claim("me", d.ID, time.Hour)
	f.check(redis.Reclaim(r))
	p := f.pendingOf(d.ID)
	if p.Consumer != "me" || p.Idle > time.Minute || p.RetryCount != 1 {
		t.Errorf("pending %+v, want it renewed", p)
	}
	if d.Message.Context().Err() != nil {
		t.Error("its context has ended")
	}
	f.publish("marker")
	if d := f.receive(r); d.Message.UUID != "marker" {
		t.Errorf("%s was delivered again", d.Message.UUID)
	}
}

func TestTheContextOfADeliveryEndsWhenAnotherConsumerHasIt(t *testing.T) {
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	f.publish("1", "2")
	d, kept := f.receive(r), f.receive(r)
	f.claim("other", d.ID, 0)
	redis.Renew(r)
	if !lost(d) || kept.Message.Context().Err() != nil {
		t.Errorf("contexts: %v, %v", context.Cause(d.Message.Context()), context.Cause(kept.Message.Context()))
	}
	f.check(r.Settle(t.Context(), d.DeadLetter(errors.New("late")), kept.Ack()))
	if p := f.pendingOf(d.ID); p.Consumer != "other" {
		t.Errorf("pending %+v, want it the other's", p)
	}
	if dead := f.entries(transport.DeadLetterTopic("t")); len(dead) != 0 {
		t.Errorf("dead letters %v", dead)
	}
}

// As above, before the loss has been noticed.
func TestAnOutcomeOfADeliveryThatIsAnothersChangesNothing(t *testing.T) {
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	f.publish("1", "2", "3")
	for _, outcome := range []func(*transport.Delivery) transport.Outcome{
		func(d *transport.Delivery) transport.Outcome { return d.Retry(0, nil) },
		func(d *transport.Delivery) transport.Outcome { return d.DeadLetter(nil) },
		(*transport.Delivery).Release,
	} {
		d := f.receive(r)
		f.claim("other", d.ID, 0)
		f.check(r.Settle(t.Context(), outcome(d)))
		if p := f.pendingOf(d.ID); p.Consumer != "other" {
			t.Errorf("%s: pending %+v, want it the other's", outcome(d).Settlement, p)
		}
	}
	for _, key := range []string{transport.DeadLetterTopic("t"), "{t}:retry:g"} {
		if n := f.client.XLen(t.Context(), key).Val(); n != 0 {
			t.Errorf("%d entries in %s", n, key)
		}
	}
	if n := f.client.ZCard(t.Context(), "{t}:delay:g").Val(); n != 0 {
		t.Errorf("%d delayed", n)
	}
}

func TestAnEntryThatWaitsAndIsAnothersIsNotHandedOver(t *testing.T) {
	f := newFixture(t)
	f.publish("1", "2", "3")
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	f.check(r.Settle(t.Context(), f.receive(r).Ack())) // All three were read at once.
	f.claim("other", f.entries("t")[1].ID, 0)
	redis.Renew(r)
	if d := f.receive(r); d.Message.UUID != "3" {
		t.Errorf("received %s, attempt %d, lease lost: %v", d.Message.UUID, d.Attempt, lost(d))
	}
	if n := f.log.count("lease lost"); n != 1 {
		t.Errorf("reported %d times", n)
	}
}

func TestWhatAnotherTookAndLostIsDeliveredAgain(t *testing.T) {
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	f.publish("1")
	d := f.receive(r)
	f.claim("other", d.ID, time.Hour)
	f.check(redis.Reclaim(r))
	// The receiver's own first look may have been faster than this test's, and still be at it.
	f.eventually("its context has ended because the lease is lost", func() bool { return lost(d) })
	again := f.receive(r)
	if again.Message.UUID != "1" || again.Attempt != 3 {
		t.Errorf("received %s, attempt %d", again.Message.UUID, again.Attempt)
	}
	f.check(r.Settle(t.Context(), d.DeadLetter(nil), again.Ack()))
	if n, dead := f.pending(), f.entries(transport.DeadLetterTopic("t")); n != 0 || len(dead) != 0 {
		t.Errorf("%d pending, dead letters %v", n, dead)
	}
}

func TestWhatACrashedConsumerHeldIsReclaimedUnderLoadToo(t *testing.T) {
	f := newFixture(t)
	for i := range 50 {
		f.publish(fmt.Sprint(i))
	}
	ctx := t.Context()
	f.check(f.client.XGroupCreate(ctx, "t", "g", "0").Err())
	f.check(f.client.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: "g", Consumer: "crashed", Streams: []string{"t", ">"}, Count: 1}).Err())
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute, Prefetch: 10})
	f.eventually("as much is read as may be", func() bool { return f.pending() == 11 })
	id := f.entries("t")[0].ID
	f.claim("crashed", id, time.Hour)
	f.check(redis.Reclaim(r))
	if p := f.pendingOf(id); p.Consumer == "crashed" {
		t.Error("not reclaimed by a consumer that has enough to do")
	}
}

func TestAPendingEntryThatWasDeletedIsForgotten(t *testing.T) {
	f := newFixture(t)
	f.publish("1")
	crashed := f.receiver(redis.SubscriberConfig{Consumer: "crashed"})
	d := f.receive(crashed)
	redis.Crash(crashed)
	f.claim("crashed", d.ID, time.Hour)
	f.check(f.client.XDel(t.Context(), "t", d.ID).Err())
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	f.eventually("it is forgotten", func() bool { return f.pending() == 0 })
	f.eventually("that is reported", func() bool { return f.log.count("its message is lost") == 1 })
	f.check(redis.Reclaim(r))
}

func TestP19_ClosingWhileSettlingLosesNothingThatWasNotAcked(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const rounds, n = 20, 50
	acked, settled := map[string]int{}, sync.Mutex{}
	for round := range rounds {
		msgs := make([]*message.Message, n)
		for i := range msgs {
			msgs[i] = message.NewMessage(fmt.Sprint(round, "-", i), nil)
		}
		f.check(f.pub.Publish("t", msgs...))
		r := f.open(redis.SubscriberConfig{Block: 5 * time.Millisecond}, "t")
		var workers sync.WaitGroup
		started := make(chan struct{}, 4)
		for range cap(started) {
			workers.Go(func() {
				for {
					page, err := r.Receive(context.Background(), 3)
					select {
					case started <- struct{}{}:
					default:
					}
					if err != nil {
						return
					}
					for _, d := range page {
						ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
						if d.Message.Context().Err() == nil && r.Settle(ctx, d.Ack()) == nil && !errors.Is(context.Cause(d.Message.Context()), transport.ErrLeaseLost) {
							settled.Lock()
							acked[d.Message.UUID]++
							settled.Unlock()
						}
						cancel()
					}
				}
			})
		}
		<-started
		f.check(r.Close())
		workers.Wait()
	}
	// What Close has released is still to come, and may have been acked a moment too late.
	left := f.client.XLen(t.Context(), "{t}:retry:g").Val() + unread(f)
	last := f.receiver(redis.SubscriberConfig{})
	for range left {
		d := f.receive(last)
		f.check(last.Settle(t.Context(), d.Ack()))
		acked[d.Message.UUID]++
	}
	if len(acked) != rounds*n {
		t.Errorf("%d of %d messages were acked", len(acked), rounds*n)
	}
	if n := f.pending(); n != 0 {
		t.Errorf("%d entries are pending", n)
	}
}

// unread is how many entries of topic t the group has not read.
func unread(f *fixture) int64 {
	groups, err := f.client.XInfoGroups(f.t.Context(), "t").Result()
	f.check(err)
	return groups[0].Lag
}
