package redis_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

func TestP2_EntriesWithLengthsThatAreLiesCostNoMemoryAndAreBuried(t *testing.T) {
	for _, metadata := range []string{"\x81\xa1a\xc6\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff"} {
		f := newFixture(t)
		pipe := f.client.Pipeline()
		for range 300 {
			pipe.Do(t.Context(), "XADD", "t", "*", "_watermill_message_uuid", "1", "metadata", metadata)
		}
		_, err := pipe.Exec(t.Context())
		f.check(err)
		f.publish("good")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		r := f.receiver(redis.SubscriberConfig{})
		if d := f.receive(r); d.Message.UUID != "good" {
			t.Errorf("received %q", d.Message.UUID)
		}
		runtime.ReadMemStats(&after)
		if took, cost := time.Since(start), after.TotalAlloc-before.TotalAlloc; took > 5*time.Second || cost > 64<<20 {
			t.Errorf("%q: took %v and %d bytes of memory", metadata, took, cost)
		}
		if n := len(f.entries(transport.DeadLetterTopic("t"))); n != 300 {
			t.Errorf("%d dead letters", n)
		}
	}
}

func TestP2_AnUndecodableEntryWithThousandsOfFieldsIsBuriedInOneField(t *testing.T) {
	f := newFixture(t)
	id := f.add("t", many("payload", "p")...)
	f.publish("good")
	r := f.receiver(redis.SubscriberConfig{})
	if d := f.receive(r); d.Message.UUID != "good" {
		t.Errorf("received %q", d.Message.UUID)
	}
	letters := f.entries(transport.DeadLetterTopic("t"))
	if len(letters) != 1 {
		t.Fatalf("dead letters %v", letters)
	}
	values := letters[0].Values
	raw, _ := values["_events_raw"].(string)
	for _, want := range []string{"payload\r\n$1\r\np\r\n", "$2\r\nf0\r\n$1\r\nv\r\n", "$5\r\nf4099\r\n$1\r\nv\r\n"} {
		if !strings.Contains(raw, want) {
			t.Errorf("the raw fields have no %q", want)
		}
	}
	if values[transport.MetadataFailureID] != id || values[transport.MetadataFailureTopic] != "t" {
		t.Errorf("failure %v of %v", values[transport.MetadataFailureID], values[transport.MetadataFailureTopic])
	}
	if n := f.pending(); n != 1 {
		t.Errorf("%d entries are pending, want the good one", n)
	}
}

func TestP2_AnUndecodableRetryIsBuriedToo(t *testing.T) {
	f := newFixture(t)
	f.add("{t}:retry:g", "garbage", "x", "_events_attempt", "many", "_events_stored", "never")
	f.publish("good")
	r := f.receiver(redis.SubscriberConfig{})
	if d := f.receive(r); d.Message.UUID != "good" {
		t.Errorf("received %q", d.Message.UUID)
	}
	f.eventually("it is buried", func() bool { return len(f.entries(transport.DeadLetterTopic("t"))) == 1 })
	if n := len(f.entries("{t}:retry:g")); n != 0 {
		t.Errorf("%d entries are left among the retries", n)
	}
}

func TestATopicOfAWrongTypeIsNamedOnceAndStopsNoOther(t *testing.T) {
	f := newFixture(t)
	r := f.receiverOn(redis.SubscriberConfig{Block: 10 * time.Millisecond}, "bad", "t")
	f.check(f.client.FlushAll(t.Context()).Err())
	f.check(f.client.Set(t.Context(), "bad", "a string", 0).Err())
	for range 50 {
		f.publish("1")
		f.check(r.Settle(t.Context(), f.receive(r).Ack()))
	}
	reads := f.calls("xreadgroup") + 10
	f.eventually("reading goes on", func() bool { return f.calls("xreadgroup") >= reads })
	const report = `a topic cannot be read" topic=bad key=bad error="WRONGTYPE`
	if n := f.log.count(report); n != 1 {
		t.Errorf("reported %d times: %.2000s", n, f.log.String())
	}
	f.check(f.client.Del(t.Context(), "bad").Err())
	f.eventually("it is healthy again", func() bool { return f.log.count("reading again") > 0 })
	f.add("bad", "_watermill_message_uuid", "2")
	if d := f.receive(r); d.Topic != "bad" {
		t.Errorf("received %+v", d)
	}
}

func TestATopicThatHasAWrongTypeFromTheStartIsRefused(t *testing.T) {
	f := newFixture(t)
	f.check(f.client.Set(t.Context(), "{t}:retry:g", "a string", 0).Err())
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g"})
	f.check(err)
	if _, err := sub.Receiver("t"); err == nil || !strings.Contains(err.Error(), `key "{t}:retry:g" is of`) {
		t.Errorf("error %v", err)
	}
}
