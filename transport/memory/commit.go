package memory

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// delivery is its own receipt, which is a transport.Committer.
type delivery struct {
	transport.Delivery
	broker *Broker
	group  string
}

// Holder implements transport.Committer.
func (d *delivery) Holder() string { return d.group + "/" + d.Topic + "/" + d.ID }

// Concludes implements transport.Committer: what is in the memory of this process
// is gone together with the broker.
func (d *delivery) Concludes(store transport.ClaimStore, _ string) bool {
	_, local := store.(transport.LocalClaimStore)
	return local
}

// Publishes implements transport.Committer.
func (d *delivery) Publishes(pub message.Publisher, topic string) bool {
	p, ok := pub.(*Publisher)
	return ok && p.broker == d.broker && !p.closed.Load() && transport.CheckTopic(topic) == nil
}

// conclude concludes the claim that an outcome's delivery holds, and publishes what
// goes with an ack. If it fails it has changed nothing. The caller holds the lock.
func (b *Broker) conclude(o transport.Outcome) error {
	var produced []*message.Message
	topic := ""
	if o.Settlement == transport.Ack && o.Produced != nil {
		produced, topic = o.Produced.Messages, o.Produced.Topic
		for _, msg := range produced {
			if msg == nil {
				return errors.New("memory: publish with the ack: the message is nil")
			}
		}
	}
	if h := o.Delivery.HeldClaim(); h != nil {
		ctx := context.Background()
		if o.Settlement != transport.Ack || !h.Done {
			_ = h.Store.Abort(ctx, *h.Claim) // If it fails, the claim expires.
		} else if err := h.Store.Done(ctx, *h.Claim, nil); errors.Is(err, transport.ErrClaimDone) {
			return nil // What the other run has produced is published.
		} else if err != nil {
			return err
		}
	}
	for _, msg := range produced {
		b.append(topic, detached(msg))
	}
	if len(produced) > 0 {
		b.wake()
	}
	return nil
}
