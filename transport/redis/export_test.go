package redis

import (
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// Crash stops a receiver as the end of its process would: its goroutines end,
// and it releases nothing.
func Crash(tr transport.Receiver) {
	r := tr.(*receiver)
	r.closing.Do(func() {
		r.cancel(errors.New("crashed"))
		r.running.Wait()
		r.waitForCalls()
	})
}

// Reclaim looks once for deliveries whose lease has run out.
func Reclaim(tr transport.Receiver) error {
	r := tr.(*receiver)
	var err error
	for _, s := range r.streams {
		err = errors.Join(err, r.reclaimStream(s))
	}
	return err
}

// Renew renews all leases, those that are fresh as well.
func Renew(tr transport.Receiver) {
	r := tr.(*receiver)
	for _, s := range r.streams {
		if held := r.snapshot(func(e *entry) bool { return e.stream == s }); len(held) > 0 {
			r.extend(s, held)
		}
	}
}

// PackAll makes a publisher pack messages that come alone, too.
func PackAll(p *Publisher) *Publisher {
	p.pack.least = 1
	return p
}

// EncodeAt is EnvelopeFormat.Encode at another time.
func EncodeAt(f EnvelopeFormat, topic string, msg *message.Message, now time.Time) ([]any, error) {
	return f.encode(topic, msg, now)
}

// EncodeBatchAt is EnvelopeFormat.EncodeBatch at another time, with another id.
func EncodeBatchAt(f EnvelopeFormat, topic string, msgs []*message.Message, id string, now time.Time) ([]any, error) {
	return f.encodeBatch(topic, msgs, id, now)
}
