package memory

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// Publisher stores messages in a broker. It is safe for concurrent use.
type Publisher struct {
	broker *Broker
	closed atomic.Bool
}

// NewPublisher returns a Publisher, or a *events.ConfigError.
func NewPublisher(broker *Broker) (*Publisher, error) {
	if broker == nil {
		return nil, &events.ConfigError{Field: "memory.NewPublisher broker", Value: nil, Problem: "is nil", Remedy: "pass memory.NewBroker's"}
	}
	return &Publisher{broker: broker}, nil
}

// Publish implements message.Publisher: it stores copies of all messages,
// next to each other. Those that are nil or whose context has ended fail with an
// *events.PublishError. A topic that transport.CheckTopic refuses is an error that
// wraps its.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if p.closed.Load() {
		return fmt.Errorf("memory: publish to %q: publisher %w", topic, events.ErrClosed)
	}
	if err := transport.CheckTopic(topic); err != nil {
		return fmt.Errorf("memory: publish: %w", err)
	}
	failed := &events.PublishError{Topic: topic, Total: len(msgs)}
	p.broker.mu.Lock()
	defer p.broker.mu.Unlock()
	for _, msg := range msgs {
		var err error
		if msg == nil {
			msg, err = message.NewMessage("", nil), errors.New("the message is nil")
		} else if msg.Context().Err() != nil {
			err = context.Cause(msg.Context())
		}
		if err != nil {
			failed.Failed = append(failed.Failed, events.FailedMessage{Topic: topic, Message: msg, Err: err})
			continue
		}
		p.broker.append(topic, detached(msg))
	}
	p.broker.wake()
	if len(failed.Failed) > 0 {
		return failed
	}
	return nil
}

// detached copies a message with its payload, which Copy shares.
func detached(msg *message.Message) *message.Message {
	c := msg.Copy()
	c.Payload = append(message.Payload(nil), msg.Payload...)
	return c
}

// Close makes further calls of Publish fail with events.ErrClosed. It may be
// called twice.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}
