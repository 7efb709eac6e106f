package eventstest

import (
	"context"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

// Subscriber returns a new subscriber of a consumer group, for the code under
// test in place of its transport's. The kit closes it.
func (k *Kit) Subscriber(group string) message.Subscriber {
	k.t.Helper()
	inner, err := memory.NewSubscriber(k.broker, memory.SubscriberConfig{Group: group, Logger: k.log})
	if err != nil {
		k.t.Fatalf("eventstest: Subscriber: %v", err)
	}
	s := &subscriber{kit: k, inner: inner, group: group}
	s.Subscriber = transport.NewSubscriber(s, transport.SubscriberConfig{Logger: k.log})
	k.mu.Lock()
	defer k.mu.Unlock()
	k.close = append(k.close, s.Close)
	return s
}

// publisher is the memory transport's, watched and made to fail.
type publisher struct {
	kit   *Kit
	inner *memory.Publisher
}

// Publish implements message.Publisher.
func (p *publisher) Publish(topic string, msgs ...*message.Message) error {
	j := p.kit.journal
	j.mu.Lock() // Across the call, so that no message is delivered before it is in the journal.
	defer j.mu.Unlock()
	err := p.kit.faults.next(&p.kit.faults.publish, topic)
	if err != nil {
		err = fmt.Errorf("eventstest: publish to %q: %w", topic, err)
	} else {
		err = p.inner.Publish(topic, msgs...)
	}
	failed, _ := events.FailedOf(err, msgs)
	for i, msg := range msgs {
		if msg != nil {
			j.publish(topic, msg, failed[i])
		}
	}
	return err
}

// Close implements message.Publisher.
func (p *publisher) Close() error { return p.inner.Close() }

// subscriber is the memory transport's, watched. The router uses Receiver;
// Subscribe, by the embedded transport.Subscriber, uses it, too.
type subscriber struct {
	*transport.Subscriber
	kit   *Kit
	inner *memory.Subscriber
	group string
}

var _ transport.Source = (*subscriber)(nil)

// Receiver implements transport.Source.
func (s *subscriber) Receiver(topics ...string) (transport.Receiver, error) {
	inner, err := s.inner.Receiver(topics...)
	if err != nil {
		return nil, err
	}
	s.kit.mu.Lock()
	defer s.kit.mu.Unlock()
	for _, topic := range topics {
		if r := (route{topic, s.group}); !slices.Contains(s.kit.routes, r) {
			s.kit.routes = append(s.kit.routes, r)
		}
	}
	return &receiver{Receiver: inner, kit: s.kit, group: s.group}, nil
}

// Close implements message.Subscriber.
func (s *subscriber) Close() error {
	if err := s.Subscriber.Close(); err != nil {
		return err
	}
	return s.inner.Close()
}

// receiver is the memory transport's, watched.
type receiver struct {
	transport.Receiver
	kit   *Kit
	group string
}

// Receive implements transport.Receiver.
func (r *receiver) Receive(ctx context.Context, most int) ([]*transport.Delivery, error) {
	page, err := r.Receiver.Receive(ctx, most)
	j := r.kit.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, d := range page {
		j.deliver(r.group, d)
	}
	return page, err
}

// Settle implements transport.Receiver.
func (r *receiver) Settle(ctx context.Context, outcomes ...transport.Outcome) error {
	j := r.kit.journal
	j.mu.Lock() // Across the call, so that no message is delivered again before this is in the journal.
	defer j.mu.Unlock()
	err := r.Receiver.Settle(ctx, outcomes...)
	for _, o := range outcomes {
		if o.Check() == nil {
			j.settle(r.group, o, unsettled(err, o))
		}
	}
	r.kit.wake()
	return err
}
