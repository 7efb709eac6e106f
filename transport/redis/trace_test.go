package redis_test

import (
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// The span of a failed attempt is all of a delivery's metadata that outlives it: what
// else a handler has changed is gone.
func TestARetryKeepsWordOfTheFailedAttempt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	with, without := message.NewMessage("with", []byte("{}")), message.NewMessage("without", nil)
	with.Metadata["key"] = "value"
	f.check(f.pub.Publish("t", with, without))
	r := f.receiver(redis.SubscriberConfig{})
	for range 2 {
		d := f.receive(r)
		d.Message.Metadata["key"] = "changed"
		d.Message.Metadata[transport.MetadataFailureTrace] = trace
		f.check(r.Settle(t.Context(), d.Retry(0, errors.New("failed"))))
	}
	for range 2 {
		d := f.receive(r)
		want := map[string]string{"with": "value", "without": ""}[d.Message.UUID]
		if md := d.Message.Metadata; d.Attempt != 2 || md[transport.MetadataFailureTrace] != trace || md["key"] != want {
			t.Errorf("%s: attempt %d, metadata %v", d.Message.UUID, d.Attempt, md)
		}
		f.check(r.Settle(t.Context(), d.Ack()))
	}
}
