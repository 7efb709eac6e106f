package redis_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

func TestAStalledConsumerLosesNothingWhileItsTopicIsTrimmed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const bulks, bulk = 50, 50
	publish := func(from int) {
		for i := from; i < bulks; i += 2 {
			msgs := make([]*message.Message, bulk)
			for n := range msgs {
				msgs[n] = message.NewMessage(fmt.Sprint(i, "-", n), []byte("{}"))
			}
			if err := f.pub.Publish("t", msgs...); err != nil {
				t.Error(err)
			}
		}
	}
	publish(0)
	stalled := f.receiver(redis.SubscriberConfig{Consumer: "stalled", Lease: time.Minute, Prefetch: 100})
	held := f.receive(stalled)
	f.eventually("it holds much", func() bool { return f.pending() >= 50 })
	redis.Crash(stalled)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	trimmer := f.trimmer(redis.TrimmerConfig{Groups: []string{"g"}, MaxLen: 10, MaxAge: time.Millisecond, Interval: 10 * time.Millisecond, StaleAfter: time.Millisecond})
	go func() { ended <- trimmer.Run(ctx) }()
	f.eventually("it was trimmed around what is held", func() bool { return f.calls("xtrim") >= 10 })
	if id := f.entries("t")[0].ID; id != held.ID {
		t.Errorf("the first entry is %s, want %s, which is held", id, held.ID)
	}
	published := make(chan struct{})
	go func() {
		publish(1)
		close(published)
	}()

	// Others take over, by and by, and retry, bury and release some of it.
	outcomes := []func(*transport.Delivery) transport.Outcome{
		func(d *transport.Delivery) transport.Outcome { return d.Retry(time.Millisecond, nil) },
		func(d *transport.Delivery) transport.Outcome { return d.DeadLetter(errors.New("bad")) },
		(*transport.Delivery).Release,
	}
	r := f.receiver(redis.SubscriberConfig{Lease: 500 * time.Millisecond, Prefetch: 200})
	settled := map[string]bool{}
	for i := 0; len(settled) < bulks*bulk; i++ {
		d := f.receive(r)
		o := d.Ack()
		if i%10 == 0 {
			o = outcomes[i/10%len(outcomes)](d)
		}
		if err := r.Settle(within(t, 20*time.Second), o); err != nil {
			t.Fatal(err)
		}
		if o.Settlement == transport.Ack || o.Settlement == transport.DeadLetter {
			settled[d.Message.UUID] = true
		}
	}
	<-published
	f.eventually("all is settled and gone", func() bool { return f.client.XLen(t.Context(), "t").Val() == 0 })
	cancel()
	f.check(<-ended)
	if n := f.log.count("its message is lost"); n != 0 {
		t.Errorf("%d messages were lost:\n%s", n, f.log)
	}
}
