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
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

func TestAReceiveThatEndsDoesNotSwallowTheWakeUpOfAnother(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
	for i := range 300 {
		f.publish(fmt.Sprint(i)) // It arrives about when the others end.
		var ending sync.WaitGroup
		for range 8 {
			ctx, cancel := context.WithCancel(t.Context())
			ending.Go(func() {
				page, err := r.Receive(ctx, 1)
				if err == nil { // It was faster than the end.
					f.settleLater(r, page[0].Release())
				}
			})
			go cancel()
		}
		d := f.receive(r)
		f.check(r.Settle(t.Context(), d.Ack()))
		ending.Wait()
	}
}

// settleLater settles in a goroutine that is not the test's.
func (f *fixture) settleLater(r transport.Receiver, o transport.Outcome) {
	if err := r.Settle(f.t.Context(), o); err != nil {
		f.t.Error(err)
	}
}

func TestPrefetchBoundsWhatIsReadOfAllTopicsTogether(t *testing.T) {
	f := newFixture(t)
	topics := []string{"t", "u", "v", "w", "x"}
	for _, topic := range topics {
		msgs := make([]*message.Message, 50)
		for i := range msgs {
			msgs[i] = message.NewMessage(fmt.Sprint(i), nil)
		}
		f.check(f.pub.Publish(topic, msgs...))
	}
	r := f.receiverOn(redis.SubscriberConfig{Prefetch: 10, Lease: time.Minute}, topics...)
	ahead := func() (n int64) {
		for _, topic := range topics {
			p, err := f.client.XPending(t.Context(), topic, "g").Result()
			f.check(err)
			n += p.Count
		}
		return n
	}
	f.eventually("as much is read as may be", func() bool { return ahead() >= 10 })
	for taken := range int64(30) {
		if n := ahead() - taken; n > 10 {
			t.Fatalf("%d entries are read ahead after %d were taken", n, taken)
		}
		f.receive(r)
		f.eventually("the room is used", func() bool { return ahead()-taken-1 > 10-int64(len(topics)) })
	}
}

func TestPrefetchBytesBoundsWhatIsReadAhead(t *testing.T) {
	f := newFixture(t)
	const size, most = 1000, 20_000
	payload := []byte(strings.Repeat("x", size))
	msgs := make([]*message.Message, 500)
	for i := range msgs {
		msgs[i] = message.NewMessage(fmt.Sprint(i), payload)
	}
	f.check(f.pub.Publish("t", msgs[0]))
	r := f.receiver(redis.SubscriberConfig{PrefetchBytes: most, Lease: time.Minute})
	f.eventually("the first is read", func() bool { return f.pending() == 1 })
	f.check(f.pub.Publish("t", msgs[1:]...))
	f.eventually("as much is read as may be", func() bool { return f.pending() >= most/size })
	for taken := range int64(100) {
		// A page may be larger by what the average is wrong.
		if n := f.pending() - taken; n > most/size+2 {
			t.Fatalf("%d entries are read ahead after %d were taken", n, taken)
		}
		f.receive(r)
		f.eventually("the room is used", func() bool { return f.pending()-taken-1 >= most/size-1 })
	}
}

func TestP19_CloseReleasesInOrderAndCostsNoAttempt(t *testing.T) {
	f := newFixture(t)
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint(i))
	}
	f.publish(want...)
	r := f.open(redis.SubscriberConfig{Lease: time.Minute}, "t")
	f.receive(r)
	f.eventually("all are read", func() bool { return f.pending() == int64(len(want)) })
	redis.Renew(r) // in another order, as after a while
	f.check(r.Close())
	next := f.receiver(redis.SubscriberConfig{})
	var got []string
	for range want {
		d := f.receive(next)
		got = append(got, d.Message.UUID)
		if d.Attempt != 1 {
			t.Errorf("%s: attempt %d", d.Message.UUID, d.Attempt)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("received %v", got)
	}
}

func TestAClosedReceiverSaysSo(t *testing.T) {
	f := newFixture(t)
	r := f.open(redis.SubscriberConfig{}, "t")
	f.publish("1")
	d := f.receive(r)
	f.check(errors.Join(r.Close(), r.Close()))
	if _, err := r.Receive(t.Context(), 1); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("receive: %v", err)
	}
	f.check(r.Settle(t.Context(), d.Ack())) // It was released: nothing changes.
	if n := len(f.entries("{t}:retry:g")); n != 1 {
		t.Errorf("%d entries were released", n)
	}
	if d.Message.Context().Err() == nil {
		t.Error("the context of what was released has not ended")
	}
}
