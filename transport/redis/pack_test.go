package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// packer opens a publisher that packs.
func (f *fixture) packer(cfg redis.PackConfig) *redis.Publisher {
	f.t.Helper()
	return f.packerOf(f.client, cfg)
}

func (f *fixture) packerOf(client goredis.UniversalClient, cfg redis.PackConfig) *redis.Publisher {
	f.t.Helper()
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client, Pack: &cfg})
	f.check(err)
	return pub
}

// progress returns the ids of the entries of topic t that are settled in part.
func (f *fixture) progress() []string {
	f.t.Helper()
	ids, err := f.client.HKeys(f.t.Context(), "{t}:progress:g").Result()
	f.check(err)
	return ids
}

// receiveAll receives n messages.
func (f *fixture) receiveAll(r transport.Receiver, n int) (all []*transport.Delivery) {
	f.t.Helper()
	for range n {
		all = append(all, f.receive(r))
	}
	return all
}

func uuids(deliveries []*transport.Delivery) (ids []string) {
	for _, d := range deliveries {
		ids = append(ids, d.Message.UUID)
	}
	return ids
}

func TestMessagesOfOneCallArePackedInOrderWithinTheLimits(t *testing.T) {
	f := newFixture(t)
	pub := f.packer(redis.PackConfig{MaxMessages: 10, MaxBytes: 1000})
	large := func(id string, size int) *message.Message {
		return message.NewMessage(id, []byte(strings.Repeat("x", size)))
	}
	msgs := numbered(25) // 10, 10, 5 and
	msgs = append(msgs, large("large", 2000), message.NewMessage("alone", nil), large("larger", 3000))
	msgs = append(msgs, large("a", 600), large("b", 600), large("c", 600), large("d", 1))
	f.check(pub.Publish("t", msgs...))
	var packed []bool
	for _, e := range f.entries("t") {
		packed = append(packed, e.Values["_events_packed"] != nil)
	}
	if want := []bool{true, true, true, false, false, false, true, true}; !slices.Equal(packed, want) {
		t.Errorf("packed: %v, want %v", packed, want)
	}
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	for _, want := range msgs {
		d := f.receive(r)
		if !d.Message.Equals(want) {
			t.Fatalf("got %s %v, want %s %v", d.Message.UUID, d.Message.Metadata, want.UUID, want.Metadata)
		}
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	f.eventually("all is settled", func() bool { return f.pending() == 0 && len(f.progress()) == 0 })
}

func TestAMessageThatComesAloneIsAnEntryLikeAnyOther(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{}).Publish("t", message.NewMessage("1", nil)))
	if _, err := redis.Decode(f.entries("t")[0].Values); err != nil {
		t.Error(err)
	}
}

func TestDeliveriesOfOneEntryAreSettledOneByOne(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{}).Publish("t", numbered(10)...))
	entry := f.entries("t")[0].ID
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	held := f.receiveAll(r, 10)
	for i, d := range held {
		if want := fmt.Sprint(entry, "#", i); d.ID != want || d.Attempt != 1 || d.Stored.IsZero() {
			t.Errorf("delivery %+v, want id %s", d, want)
		}
	}
	settle := func(outcomes ...transport.Outcome) { f.check(r.Settle(t.Context(), outcomes...)) }
	settle(held[0].Ack(), held[9].Ack())
	if f.pending() != 1 || len(f.progress()) != 1 {
		t.Fatalf("%d pending, progress %v", f.pending(), f.progress())
	}
	settle(held[1].Retry(0, errors.New("later")), held[2].DeadLetter(errors.New("bad")), held[3].Release())
	again := f.receiveAll(r, 2) // the retry and the release
	slices.SortFunc(again, func(a, b *transport.Delivery) int { return strings.Compare(a.ID, b.ID) })
	if got := uuids(again); !slices.Equal(got, []string{held[1].Message.UUID, held[3].Message.UUID}) || again[0].Attempt != 2 || again[1].Attempt != 1 || again[0].ID != held[1].ID {
		t.Errorf("came again: %v, attempts %d and %d, id %s", got, again[0].Attempt, again[1].Attempt, again[0].ID)
	}
	settle(again[0].Ack(), again[1].Ack())
	if held[4].Message.Context().Err() != nil {
		t.Error("a context has ended while others are settled")
	}
	settle(held[4].Ack(), held[5].Ack(), held[6].Ack(), held[7].Ack())
	if f.pending() != 1 {
		t.Fatal("the entry was acked before all of it was settled")
	}
	settle(held[8].Ack())
	if f.pending() != 0 || len(f.progress()) != 0 {
		t.Errorf("%d pending, progress %v", f.pending(), f.progress())
	}
	for _, d := range held {
		if d.Message.Context().Err() == nil {
			t.Error("a context lives on after all is settled")
		}
	}
	dead := f.entries("{t}:dead-letters")
	if len(dead) != 1 || dead[0].Values["_watermill_message_uuid"] != held[2].Message.UUID {
		t.Errorf("dead letters: %v", dead)
	}
}

// An entry that is settled as a whole costs what any other costs.
func TestAnEntryThatOneCallAcksLeavesNoProgress(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{}).Publish("t", numbered(300)...))
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	held := f.receiveAll(r, 300)
	f.do("CONFIG", "RESETSTAT")
	f.check(r.Settle(t.Context(), acks(held)...))
	if f.calls("xack") != 1 || f.calls("hset") != 0 || f.calls("evalsha") != 0 || f.pending() != 0 {
		t.Errorf("%d XACK, %d HSET, %d EVALSHA, %d pending", f.calls("xack"), f.calls("hset"), f.calls("evalsha"), f.pending())
	}
}

// The messages of an entry share its lease: it may be renewed while some of them are being
// settled, and the others stay ours.
func TestALeaseIsRenewedWhileSomeOfItsMessagesAreSettled(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{}).Publish("t", numbered(100)...))
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	held := f.receiveAll(r, 100)
	settled := make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() {
		for {
			select {
			case <-settled:
				return
			default:
				redis.Renew(r)
			}
		}
	})
	for _, d := range held[:99] {
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	close(settled)
	renewing.Wait()
	last := held[99]
	if err := last.Message.Context().Err(); err != nil || f.pending() != 1 {
		t.Errorf("the context of the last one: %v; %d pending", err, f.pending())
	}
	f.check(r.Settle(t.Context(), last.Ack()))
	if f.pending() != 0 || len(f.progress()) != 0 {
		t.Errorf("%d pending, progress %v", f.pending(), f.progress())
	}
}

func acks(deliveries []*transport.Delivery) (outcomes []transport.Outcome) {
	for _, d := range deliveries {
		outcomes = append(outcomes, d.Ack())
	}
	return outcomes
}

func TestAfterACrashOnlyWhatWasNotSettledComesAgain(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{MaxMessages: 20}).Publish("t", numbered(60)...))
	crashed := f.open(redis.SubscriberConfig{Lease: 500 * time.Millisecond}, "t")
	held := f.receiveAll(crashed, 50) // The third entry is unpacked, and not all of it handed over.
	settled := append(acks(held[3:13]), held[45].Ack(), held[19].Retry(time.Hour, errors.New("later")), held[20].DeadLetter(errors.New("bad")))
	f.check(crashed.Settle(t.Context(), settled...))
	redis.Crash(crashed)
	done := map[string]bool{}
	for _, o := range settled {
		done[o.Delivery.Message.UUID] = true
	}
	r := f.receiver(redis.SubscriberConfig{Lease: 500 * time.Millisecond, ReclaimInterval: 50 * time.Millisecond})
	rest := f.receiveAll(r, 60-len(settled))
	for _, d := range rest {
		if done[d.Message.UUID] {
			t.Errorf("%s was settled and comes again", d.Message.UUID)
		}
		done[d.Message.UUID] = true
		if d.Attempt != 2 {
			t.Errorf("%s: attempt %d", d.Message.UUID, d.Attempt)
		}
	}
	f.check(r.Settle(t.Context(), acks(rest)...))
	if f.pending() != 0 || len(f.progress()) != 0 || len(done) != 60 {
		t.Errorf("%d pending, progress %v, %d messages", f.pending(), f.progress(), len(done))
	}
	// Too late: it has lost the lease.
	f.check(crashed.Settle(t.Context(), acks(held)...))
	if len(f.progress()) != 0 || len(f.entries("{t}:dead-letters")) != 1 {
		t.Errorf("who has lost the lease has left progress %v, dead letters %v", f.progress(), f.entries("{t}:dead-letters"))
	}
}

func TestCloseReleasesOnlyWhatIsNotSettled(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{MaxMessages: 12}).Publish("t", numbered(24)...))
	r := f.open(redis.SubscriberConfig{Lease: time.Minute}, "t")
	held := f.receiveAll(r, 5) // The second entry is not even unpacked.
	f.eventually("both entries are read", func() bool { return f.pending() == 2 })
	f.check(r.Settle(t.Context(), held[1].Ack(), held[2].Ack()))
	f.check(r.Close())
	if f.pending() != 0 || len(f.progress()) != 0 {
		t.Errorf("%d pending, progress %v", f.pending(), f.progress())
	}
	var want []string
	for i, msg := range numbered(24) {
		if i != 1 && i != 2 {
			want = append(want, msg.UUID)
		}
	}
	next := f.receiver(redis.SubscriberConfig{})
	rest := f.receiveAll(next, len(want))
	if got := uuids(rest); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, d := range rest {
		if d.Attempt != 1 {
			t.Errorf("%s: attempt %d", d.ID, d.Attempt)
		}
	}
}

func TestALostLeaseEndsAllDeliveriesOfAnEntry(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{}).Publish("t", numbered(8)...))
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	held := f.receiveAll(r, 4)
	f.check(r.Settle(t.Context(), held[0].Ack()))
	redis.Renew(r)
	if err := held[1].Message.Context().Err(); err != nil {
		t.Fatalf("a lease that was renewed is lost: %v", err)
	}
	f.check(f.client.XClaim(t.Context(), &goredis.XClaimArgs{Stream: "t", Group: "g", Consumer: "thief", Messages: []string{f.entries("t")[0].ID}}).Err())
	redis.Renew(r)
	for _, d := range held[1:] {
		if !errors.Is(context.Cause(d.Message.Context()), transport.ErrLeaseLost) {
			t.Errorf("%s: %v", d.ID, context.Cause(d.Message.Context()))
		}
	}
	f.check(r.Settle(t.Context(), held[1].Ack(), held[2].DeadLetter(errors.New("bad"))))
	if n := len(f.entries("{t}:dead-letters")); n != 0 {
		t.Errorf("%d dead letters of somebody else's deliveries", n)
	}
}

// What is read ahead is counted in messages, however many an entry has.
func TestPrefetchCountsMessagesOfPacks(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{MaxMessages: 50}).Publish("t", numbered(2000)...))
	r := f.receiver(redis.SubscriberConfig{Prefetch: 100, Lease: time.Minute})
	var taken int64
	for range 20 {
		f.receiveAll(r, 40)
		taken += 40
		// The first pages come before it is known how many an entry has.
		if ahead := f.pending()*50 - taken; taken > 400 && ahead > 200 {
			t.Fatalf("%d messages are read ahead after %d were taken", ahead, taken)
		}
	}
}

func TestWhatCannotBeUnpackedGoesToTheDeadLettersAsItIs(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{}).Publish("other", numbered(50)...))
	good := f.entries("other")[0].Values["_events_packed"].(string)
	broken := []byte(good)
	broken[len(broken)/2] ^= 0x55
	garbage := []string{"x", "\x02" + good[1:], good[:len(good)-3], string(broken), "\x01\xff\xff\xff\xff\x0f\x01\x01\x01\x01\x01"}
	for _, g := range garbage {
		f.add("t", "_events_packed", g)
	}
	f.check(f.packer(redis.PackConfig{}).Publish("t", numbered(3)...))
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	f.check(r.Settle(t.Context(), acks(f.receiveAll(r, 3))...))
	dead := f.entries("{t}:dead-letters")
	if len(dead) != len(garbage) || f.pending() != 0 {
		t.Fatalf("%d dead letters, %d pending", len(dead), f.pending())
	}
	for i, e := range dead {
		reason, _ := e.Values[transport.MetadataFailureReason].(string)
		if !slices.Contains(garbage, e.Values["_events_packed"].(string)) || !strings.Contains(reason, "not a pack of messages") {
			t.Errorf("%d: reason %q", i, reason)
		}
	}
}

func TestAnErrorOfAPackNamesAllItsMessages(t *testing.T) {
	f := newFixture(t)
	f.check(f.client.Set(t.Context(), "t", "no stream", 0).Err())
	msgs := numbered(25)
	msgs[3] = nil
	err := f.packer(redis.PackConfig{MaxMessages: 10}).Publish("t", msgs...)
	failed, ok := errors.AsType[*events.PublishError](err)
	if !ok || len(failed.Failed) != 25 || failed.Total != 25 || !strings.Contains(err.Error(), "WRONGTYPE") && !strings.Contains(err.Error(), "nil") {
		t.Errorf("%v", err)
	}
}

func TestPackConfigIsRefused(t *testing.T) {
	f := newFixture(t)
	for _, cfg := range []redis.PackConfig{{MaxMessages: -1}, {MaxMessages: 1}, {MaxMessages: 10_001}, {MaxBytes: -1}, {MaxBytes: 17 << 20}} {
		_, err := redis.NewPublisher(redis.PublisherConfig{Client: f.client, Pack: &cfg})
		if refused, ok := errors.AsType[*events.ConfigError](err); !ok || refused.Remedy == "" {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// A group that is made again begins anew, whatever one of its name has settled.
func TestAGroupThatIsCreatedKnowsNoProgress(t *testing.T) {
	f := newFixture(t)
	f.check(f.packer(redis.PackConfig{}).Publish("t", numbered(5)...))
	crashed := f.open(redis.SubscriberConfig{Lease: time.Minute}, "t")
	f.check(crashed.Settle(t.Context(), f.receive(crashed).Ack()))
	redis.Crash(crashed)
	f.check(f.client.XGroupDestroy(t.Context(), "t", "g").Err())
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	if len(f.progress()) != 0 {
		t.Errorf("progress %v", f.progress())
	}
	f.check(r.Settle(t.Context(), acks(f.receiveAll(r, 5))...))
}

// Progress of entries that somebody has acked by hand does not pile up.
func TestProgressOfNoUseIsForgotten(t *testing.T) {
	f := newFixture(t)
	pub := f.packer(redis.PackConfig{MaxMessages: 2})
	f.check(pub.Publish("t", numbered(2)...))
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	f.receive(r)
	for i := range 20 {
		f.check(f.client.HSet(t.Context(), "{t}:progress:g", fmt.Sprintf("1-%d", i), "\x01").Err())
	}
	for range 100 {
		f.check(pub.Publish("t", numbered(2)...))
		d := f.receive(r)
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	stale := 0
	for _, id := range f.progress() {
		if strings.HasPrefix(id, "1-") {
			stale++
		}
	}
	if stale >= 20 {
		t.Errorf("%d of 20 are still there after 100 looks", stale)
	}
}

// Who reads entries by hand is told what a packed one is.
func TestDecodeSaysThatAnEntryCarriesManyAndDecodeAllReadsThem(t *testing.T) {
	f := newFixture(t)
	want := numbered(5)
	f.check(f.packer(redis.PackConfig{MaxMessages: 4}).Publish("t", want...))
	var got []*message.Message
	for i, e := range f.entries("t") {
		if _, err := redis.Decode(e.Values); (err == nil) != (i == 1) || i == 0 && (!errors.Is(err, redis.ErrUnknownFormat) || !strings.Contains(err.Error(), "DecodeAll")) {
			t.Errorf("entry %d: %v", i, err)
		}
		msgs, err := redis.DecodeAll(e.Values)
		f.check(err)
		got = append(got, msgs...)
	}
	for i, msg := range want {
		if i >= len(got) || !got[i].Equals(msg) {
			t.Fatalf("message %d of %d differs", i, len(got))
		}
	}
	for _, bad := range []map[string]any{{}, {"_events_packed": "x"}, {"_events_packed": "\x01\x01\x05\x00\x00\x00"}} {
		if _, err := redis.DecodeAll(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
