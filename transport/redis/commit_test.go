package redis_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// claimed receives a message under a claim that is done, whose handler publishes to
// topic u.
func (f *fixture) claimed(r transport.Receiver, pub message.Publisher) *transport.Delivery {
	f.t.Helper()
	store := f.idempotency()
	d := f.receive(r)
	transport.NewLot(&transport.Route{Publisher: pub, Topic: "u"}, []*transport.Delivery{d})
	c := claimOf(d.Message.UUID, "a")
	f.wantBegin(store, c, "started")
	d.HoldClaim(&transport.Held{Claim: &c, Store: store, Done: true})
	return d
}

func with(d *transport.Delivery, pub message.Publisher, msgs ...*message.Message) transport.Outcome {
	o := d.Ack()
	o.Produced = &transport.Produced{Publisher: pub, Topic: "u", Messages: msgs}
	return o
}

// What cannot be added keeps the message where it is, and its event unmarked.
func TestAnAckThatCannotPublishDoesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.check(f.publisher(f.client).Publish("t", numbered(3)...))
	f.check(f.client.LPush(t.Context(), "u", "no stream").Err())
	pub := f.publisher(f.client)
	r := f.open(redis.SubscriberConfig{Lease: time.Minute}, "t")
	reserved := message.NewMessage("1", nil)
	reserved.Metadata["_watermill_message_uuid"] = "x"
	for name, outcome := range map[string]func(*transport.Delivery) transport.Outcome{
		"no stream":  func(d *transport.Delivery) transport.Outcome { return with(d, pub, numbered(2)...) },
		"no message": func(d *transport.Delivery) transport.Outcome { return with(d, pub, nil) },
		"reserved":   func(d *transport.Delivery) transport.Outcome { return with(d, pub, reserved) },
	} {
		d := f.claimed(r, pub)
		err := r.Settle(t.Context(), outcome(d))
		if failed, ok := errors.AsType[*transport.SettleError](err); !ok || len(failed.Unsettled) != 1 {
			t.Errorf("%s: got %v", name, err)
		}
		f.wantBegin(f.idempotency(), claimOf(d.Message.UUID, "b"), "busy")
	}
	if n := f.pending(); n != 3 {
		t.Errorf("%d are pending", n)
	}
}
