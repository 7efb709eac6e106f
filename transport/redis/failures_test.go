package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func TestP2_UndecodableEntriesGoToTheDeadLettersAndTheConsumerGoesOn(t *testing.T) {
	f := newFixture(t)
	for _, values := range [][]string{{"garbage", "\x00\xff"}, {"_watermill_message_uuid", "1", "metadata", "\xc1", "payload", "p"}} {
		f.check(f.client.XAdd(t.Context(), &goredis.XAddArgs{Stream: "t", Values: values}).Err())
	}
	f.publish("good")
	r := f.receiver(redis.SubscriberConfig{})
	d := f.receive(r)
	if d.Message.UUID != "good" {
		t.Errorf("received %q", d.Message.UUID)
	}
	f.check(r.Settle(t.Context(), d.Ack()))
	dead, err := f.client.XRange(t.Context(), transport.DeadLetterTopic("t"), "-", "+").Result()
	f.check(err)
	if len(dead) != 2 || dead[0].Values["garbage"] != "\x00\xff" || dead[1].Values["metadata"] != "\xc1" {
		t.Fatalf("dead letters %v", dead)
	}
	for _, entry := range dead {
		if reason, _ := entry.Values[transport.MetadataFailureReason].(string); !strings.HasPrefix(reason, "not a message") {
			t.Errorf("reason %q", reason)
		}
	}
	if n := f.pending(); n != 0 {
		t.Errorf("%d entries are pending", n)
	}
}

func TestP4_TheCallersClientStaysOpen(t *testing.T) {
	f := newFixture(t)
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g", Block: 10 * time.Millisecond})
	f.check(err)
	_, err = sub.Subscribe(t.Context(), "t")
	f.check(err)
	f.check(errors.Join(f.pub.Close(), f.pub.Close(), sub.Close(), sub.Close()))
	f.check(f.client.Ping(t.Context()).Err())
}

func TestP5_CloseReturnsWithinTheBlockTime(t *testing.T) {
	f := newFixture(t)
	const block = 500 * time.Millisecond
	r := f.receiver(redis.SubscriberConfig{Block: block})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.Receive(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("receive: %v", err)
	}
	start := time.Now()
	f.check(r.Close())
	if took := time.Since(start); took > block+time.Second { // the machine may be busy
		t.Errorf("Close took %v", took)
	}
}

func TestP6_AGroupThatIsGoneIsCreatedAgain(t *testing.T) {
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{})
	f.publish("before")
	f.check(r.Settle(t.Context(), f.receive(r).Ack()))
	f.check(f.client.FlushAll(t.Context()).Err())
	f.publish("after")
	if d := f.receive(r); d.Message.UUID != "after" {
		t.Errorf("received %q", d.Message.UUID)
	}
	if n := f.log.count("group was gone"); n != 1 {
		t.Errorf("reported %d times, want once", n)
	}
}

func TestP7_AConsumerWithPendingEntriesIsNotDeleted(t *testing.T) {
	f := newFixture(t)
	f.publish("1")
	r := f.receiver(redis.SubscriberConfig{Consumer: "crashed", Lease: time.Hour})
	f.receive(r)
	redis.Crash(r)
	other := f.receiver(redis.SubscriberConfig{Consumer: "tidy"})
	f.check(other.Close())
	consumers, err := f.client.XInfoConsumers(t.Context(), "t", "g").Result()
	f.check(err)
	if len(consumers) != 1 || consumers[0].Name != "crashed" || consumers[0].Pending != 1 {
		t.Errorf("consumers %+v, want only the crashed one with its entry", consumers)
	}
}

func TestP8_DeadLettersThatCannotBeWrittenLeaveTheEntryPending(t *testing.T) {
	f := newFixture(t)
	f.check(f.client.Set(t.Context(), transport.DeadLetterTopic("t"), "a string", 0).Err())
	f.publish("1")
	r := f.receiver(redis.SubscriberConfig{Lease: 300 * time.Millisecond})
	d := f.receive(r)
	err := r.Settle(t.Context(), d.DeadLetter(errors.New("broken")))
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok || len(failed.Unsettled) != 1 || !strings.Contains(err.Error(), "rename it, or choose another topic") {
		t.Fatalf("settle: %v", err)
	}
	if n := f.pending(); n != 1 {
		t.Errorf("%d entries are pending, want 1", n)
	}
	again := f.receive(r) // when the lease has run out
	if again.Attempt != 2 {
		t.Errorf("attempt %d, want 2", again.Attempt)
	}
	f.check(f.client.Del(t.Context(), transport.DeadLetterTopic("t")).Err())
	f.check(r.Settle(t.Context(), again.DeadLetter(errors.New("broken"))))
	if n := f.pending(); n != 0 {
		t.Errorf("%d entries are pending", n)
	}
}

func TestAServerThatIsKilledAndComesBackLosesNothing(t *testing.T) {
	// With everysec the server may hold back what it has acknowledged while the disk is busy.
	f := newFixture(t, "--appendfsync", "always")
	// Entries whose reply was lost with the connection come back with their lease.
	r := f.receiver(redis.SubscriberConfig{Lease: 500 * time.Millisecond})
	acknowledged := map[string]bool{}
	publish := func(from, to int) (failed int) {
		for i := from; i < to; i++ {
			id := fmt.Sprint(i)
			if err := f.pub.Publish("t", message.NewMessage(id, nil)); err != nil {
				if _, ok := errors.AsType[*events.PublishError](err); !ok {
					t.Errorf("publish: %v", err)
				}
				failed++
				continue
			}
			acknowledged[id] = true
		}
		return failed
	}
	publish(0, 100)
	f.server.Kill()
	if publish(100, 101) == 0 {
		t.Error("published without a server")
	}
	f.check(f.server.Restart(t.Context()))
	publish(101, 150)
	defer func() {
		if t.Failed() {
			t.Logf("left %v, %d pending, %d unread, log:\n%s", acknowledged, f.pending(), unread(f), f.log.String())
		}
	}()
	for len(acknowledged) > 0 {
		d := f.receive(r)
		f.check(r.Settle(t.Context(), d.Ack()))
		delete(acknowledged, d.Message.UUID)
	}
	if n := f.log.count("reading failed"); n > 2 {
		t.Errorf("one outage was reported %d times", n)
	}
}

func TestBulkPublishReportsExactlyWhatFailed(t *testing.T) {
	f := newFixture(t)
	reserved := message.NewMessage("bad", nil)
	reserved.Metadata["_watermill_message_uuid"] = "x"
	ended := message.NewMessage("ended", nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended.SetContext(ctx)
	err := f.pub.Publish("t", message.NewMessage("1", nil), reserved, ended, message.NewMessage("2", nil))
	failed, ok := errors.AsType[*events.PublishError](err)
	if !ok || len(failed.Failed) != 2 || failed.Failed[0].Message != reserved || failed.Failed[1].Message != ended {
		t.Errorf("error %v", err)
	}
	if n := f.client.XLen(t.Context(), "t").Val(); n != 2 {
		t.Errorf("%d stored, want 2", n)
	}
}
