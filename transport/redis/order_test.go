package redis_test

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport/redis"
)

func TestPagesAreHandedOverInTheOrderInWhichTheyWereRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const count = 20_000
	for from := 0; from < count; from += 1000 {
		msgs := make([]*message.Message, 1000)
		for i := range msgs {
			msgs[i] = message.NewMessage(fmt.Sprint(from+i), nil)
		}
		f.check(f.pub.Publish("t", msgs...))
	}
	r := f.receiver(redis.SubscriberConfig{Prefetch: 64, Lease: time.Minute})
	for next := 0; next < count; {
		page, err := r.Receive(within(t, 20*time.Second), 100)
		f.check(err)
		for _, d := range page {
			if d.Message.UUID != fmt.Sprint(next) {
				t.Fatalf("%s came after %d messages", d.Message.UUID, next)
			}
			f.check(r.Settle(t.Context(), d.Ack()))
			next++
		}
	}
}

func TestMessagesOfOneCallKeepWhatIsTheirs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	msgs := make([]*message.Message, 100)
	for i := range msgs { // Each is larger than the one before, in all its parts.
		msgs[i] = message.NewMessage(strings.Repeat("u", i), bytes.Repeat([]byte{byte(i)}, 10*i))
		for n := range i % 7 {
			msgs[i].Metadata[fmt.Sprint("key", n)] = strings.Repeat(fmt.Sprint(i), i)
		}
	}
	msgs[0].Metadata, msgs[0].Payload = nil, nil
	f.check(f.pub.Publish("t", msgs...))
	for i, e := range f.entries("t") {
		got, err := redis.Decode(e.Values)
		f.check(err)
		if want := msgs[i]; got.UUID != want.UUID || !maps.Equal(got.Metadata, want.Metadata) || !bytes.Equal(got.Payload, want.Payload) {
			t.Errorf("%d: stored %v, want %v", i, got, want)
		}
	}
}

func TestAHandlerMayChangeItsPayload(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.publish("1", "2", "3")
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	for range 3 {
		d := f.receive(r)
		if got := string(d.Message.Payload); got != "{}" {
			t.Errorf("%s: payload %q", d.Message.UUID, got)
		}
		d.Message.Payload[0] = 'x'
		d.Message.Payload = append(d.Message.Payload, "xx"...) // as long as the next one
		f.check(r.Settle(t.Context(), d.Retry(0, nil)))
	}
	for range 3 {
		d := f.receive(r)
		if got := string(d.Message.Payload); got != "{}" || d.Attempt != 2 {
			t.Errorf("%s: payload %q at attempt %d", d.Message.UUID, got, d.Attempt)
		}
		f.check(r.Settle(t.Context(), d.Ack()))
	}
}
