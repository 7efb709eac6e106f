package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
)

func TestShortRetriesComeBackSoon(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{})
	f.publish("1")
	d := f.receive(r)
	for i := range 100 {
		start := time.Now()
		f.check(r.Settle(t.Context(), d.Retry(10*time.Millisecond, nil)))
		d = f.receive(r)
		if took := time.Since(start); took < 10*time.Millisecond || took > time.Second {
			t.Fatalf("retry %d after 10ms came after %v", i, took)
		}
		if d.Attempt != i+2 {
			t.Errorf("attempt %d, want %d", d.Attempt, i+2)
		}
	}
}

// delay stores a member as a retry that is due.
func (f *fixture) delay(member string, fields any) {
	f.t.Helper()
	if fields != nil {
		packed, ok := fields.(string)
		if !ok {
			b, err := msgpack.Marshal(fields)
			f.check(err)
			packed = string(b)
		}
		f.check(f.client.HSet(f.t.Context(), "{t}:delayed:g", member, packed).Err())
	}
	f.check(f.client.ZAdd(f.t.Context(), "{t}:delay:g", goredis.Z{Score: 1, Member: member}).Err())
}

func TestP11_DelayedRetriesThatAreNoneAreSetAsideAndOthersGoOn(t *testing.T) {
	f := newFixture(t)
	tampered := map[string]any{
		"empty": "", "no msgpack": "\xc1", "cut off": "\x92\xa1", "a number": 7, "a map": map[string]string{"a": "b"}, "no fields": []string{}, "odd": []string{"a"},
		"nothing stored": nil, "a nil": []any{nil, "a"}, "a flag": []any{"a", true}, "a list": []any{"a", []string{"b"}}, "a fraction": []any{"a", 1.5},
		"too many": strings.Split(strings.Repeat("x ", 5000), " ")[:4998], "huge": "\xdd\xff\xff\xff\xff",
	}
	for member, fields := range tampered {
		f.delay(member, fields)
	}
	f.delay("good", []string{"_watermill_message_uuid", "good", "_events_attempt", "2"})
	r := f.receiver(redis.SubscriberConfig{})
	if d := f.receive(r); d.Message.UUID != "good" || d.Attempt != 2 {
		t.Errorf("received %s, attempt %d", d.Message.UUID, d.Attempt)
	}
	f.publish("1")
	f.check(r.Settle(t.Context(), f.receive(r).Retry(0, nil)))
	if d := f.receive(r); d.Message.UUID != "1" || d.Attempt != 2 {
		t.Errorf("received %s, attempt %d", d.Message.UUID, d.Attempt)
	}
	left := f.client.HGetAll(t.Context(), "{t}:delayed:g").Val()
	for member, fields := range tampered {
		if _, ok := left[member]; ok != (fields != nil) {
			t.Errorf("%s: kept %v", member, ok)
		}
	}
	if n := f.client.ZCard(t.Context(), "{t}:delay:g").Val(); n != 0 {
		t.Errorf("%d members are still due", n)
	}
	if n := f.log.count("delayed retries that cannot be read are set aside"); n == 0 {
		t.Error("not reported")
	}
}

func TestADelayStoreOfAWrongTypeIsNamedAndStopsNoOtherTopic(t *testing.T) {
	f := newFixture(t)
	r := f.receiverOn(redis.SubscriberConfig{Lease: time.Minute}, "t", "u")
	f.check(f.client.Set(t.Context(), "{t}:delay:g", "a string", 0).Err())
	f.publish("1")
	f.check(f.pub.Publish("u", message.NewMessage("2", nil)))
	held := map[string]*transport.Delivery{}
	for range 2 {
		d := f.receive(r)
		held[d.Topic] = d
	}
	err := r.Settle(t.Context(), held["t"].Retry(0, nil), held["u"].Retry(0, nil))
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok || len(failed.Unsettled) != 1 || failed.Unsettled[0].Outcome.Delivery != held["t"] || !strings.Contains(err.Error(), "{t}:delay:g") {
		t.Errorf("settle: %v", err)
	}
	if d := f.receive(r); d.Topic != "u" || d.Attempt != 2 {
		t.Errorf("received %+v", d)
	}
	f.eventually("the key is named", func() bool { return strings.Contains(f.log.String(), `delayed retries not moved" topic=t`) })
	if text := f.log.String(); !strings.Contains(text, `key \"{t}:delay:g\" is of another type`) {
		t.Errorf("logged %s", text)
	}
	if n := f.pending(); n != 1 {
		t.Errorf("%d entries are pending, want 1", n)
	}
}

func TestRetriesOfACrashedConsumerComeToOthers(t *testing.T) {
	f := newFixture(t)
	for i := range 250 { // more than one page
		f.delay(fmt.Sprint(i), []string{"_watermill_message_uuid", fmt.Sprint(i), "_events_attempt", "3", "_events_id", "7-1", "_events_stored", "1000"})
	}
	r := f.receiver(redis.SubscriberConfig{})
	got := map[string]bool{}
	for range 250 {
		d := f.receive(r)
		got[d.Message.UUID] = true
		if d.Attempt != 3 || d.ID != "7-1" || !d.Stored.Equal(time.UnixMilli(1000)) {
			t.Fatalf("received %+v", d)
		}
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	if len(got) != 250 {
		t.Errorf("received %d of 250", len(got))
	}
}
