package memory

import (
	"context"
	"maps"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// deadLetter is what is to be stored for an outcome, or why it cannot be.
type deadLetter struct {
	topic string
	msg   *message.Message
	err   error
}

// Settle implements transport.Receiver. What it can fail for is in the caller's
// hands: an outcome that is none, and a DeadLetterTopic that panics or names no topic.
func (r *receiver) Settle(_ context.Context, outcomes ...transport.Outcome) error {
	letters := r.deadLetters(outcomes)
	var unsettled []transport.UnsettledOutcome
	acks, handedOver := 0, false
	r.broker.mu.Lock()
	defer r.broker.mu.Unlock()
	for _, o := range outcomes {
		var letter deadLetter
		err := o.Check()
		if err == nil && o.Settlement == transport.DeadLetter {
			letter, letters = letters[0], letters[1:]
			err = letter.err
		}
		g, p := r.held(o.Delivery)
		if err == nil && p != nil {
			err = r.broker.conclude(o)
		}
		switch {
		case err != nil:
			unsettled = append(unsettled, transport.UnsettledOutcome{Outcome: o, Err: err})
			r.abandon(p)
			continue
		case p != nil: // Neither lost nor settled before.
			r.settle(g, p, o, letter)
			handedOver = handedOver || !g.leaves.IsZero()
		}
		if o.Settlement == transport.Ack {
			acks++
		}
	}
	if acks < len(outcomes) || handedOver { // Otherwise an ack gives nobody anything to receive.
		r.broker.wake()
	}
	if len(unsettled) > 0 {
		return &transport.SettleError{Unsettled: unsettled}
	}
	return nil
}

// deadLetters makes the dead letter of each outcome that wants one, in order. It
// is called without the lock, as DeadLetterTopic is the user's and may do anything.
func (r *receiver) deadLetters(outcomes []transport.Outcome) (letters []deadLetter) {
	for _, o := range outcomes {
		if o.Settlement != transport.DeadLetter || o.Check() != nil {
			continue
		}
		l := deadLetter{msg: detached(o.Delivery.Message)}
		maps.Copy(l.msg.Metadata, o.Metadata)
		l.topic, l.err = transport.DeriveTopic(r.cfg.DeadLetterTopic, o.Delivery.Topic)
		letters = append(letters, l)
	}
	return letters
}

// held returns what this receiver has of a delivery: nil if its lease is lost, it
// was settled before, or it is none. The caller holds the lock.
func (r *receiver) held(d *transport.Delivery) (*group, *pending) {
	if d == nil || r.broker.topics[d.Topic] == nil {
		return nil, nil
	}
	g := r.broker.topics[d.Topic].groups[r.cfg.Group]
	if g == nil || g.pending[d] == nil || g.pending[d].owner != r {
		return nil, nil
	}
	return g, g.pending[d]
}

// abandon lets the lease of an unsettled delivery run out: it was to be settled, so
// nobody is at work on it any more. The caller holds the lock.
func (r *receiver) abandon(p *pending) {
	if p != nil {
		p.expires = time.Now().Add(r.cfg.Lease)
		r.broker.lapsing = true
	}
}

func (r *receiver) settle(g *group, p *pending, o transport.Outcome, letter deadLetter) {
	d := o.Delivery
	delete(g.pending, d)
	p.cancel(nil)
	switch o.Settlement {
	case transport.Retry:
		g.delayed = append(g.delayed, &waiting{p.entry, d.Attempt + 1, time.Now().Add(o.After), d.Message.Metadata[transport.MetadataFailureTrace]})
	case transport.DeadLetter:
		r.broker.append(letter.topic, letter.msg)
	case transport.Release:
		g.queue = append(g.queue, &waiting{entry: p.entry, attempt: d.Attempt})
	}
}
