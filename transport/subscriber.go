package transport

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// SubscriberConfig configures [NewSubscriber].
type SubscriberConfig struct {
	// MaxInFlight is how many messages of one subscription may be unacknowledged
	// at a time. Zero means 64.
	MaxInFlight int
	// NackDelay is how long a nacked message waits before it is delivered again;
	// others flow meanwhile. Zero or less means 100 ms; transports refuse less.
	NackDelay time.Duration
	// Logger gets what could not be settled. Nil means slog.Default().
	Logger *slog.Logger
}

// Subscriber is a message.Subscriber over a [Source]: Ack settles a message as
// [Ack], Nack as [Retry].
type Subscriber struct {
	source Source
	cfg    SubscriberConfig

	mu      sync.Mutex
	closed  bool
	closing chan struct{}
	running sync.WaitGroup
}

// NewSubscriber returns a Subscriber over source. Transports embed it.
func NewSubscriber(source Source, cfg SubscriberConfig) *Subscriber {
	if cfg.MaxInFlight <= 0 {
		cfg.MaxInFlight = 64
	}
	if cfg.NackDelay <= 0 {
		cfg.NackDelay = 100 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Subscriber{source: source, cfg: cfg, closing: make(chan struct{})}
}

// Subscribe implements message.Subscriber. The subscription ends with ctx or
// with Close; messages that are unacknowledged then are released.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("transport: subscribe to %q: subscriber %w", topic, events.ErrClosed)
	}
	receiver, err := s.source.Receiver(topic)
	if err != nil {
		return nil, err
	}
	sub := &subscription{
		receiver: receiver,
		cfg:      s.cfg,
		out:      make(chan *message.Message),
		slots:    make(chan struct{}, s.cfg.MaxInFlight),
		outcomes: make(chan Outcome, s.cfg.MaxInFlight),
	}
	ctx, cancel := context.WithCancel(ctx)
	s.running.Add(2)
	go func() {
		defer s.running.Done()
		defer cancel()
		select {
		case <-s.closing:
		case <-ctx.Done():
		}
	}()
	go func() {
		defer s.running.Done()
		defer cancel()
		sub.run(ctx, cancel)
	}()
	return sub.out, nil
}

// SubscribeInitialize implements message.SubscribeInitializer: it creates the
// topic and the group without consuming.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	receiver, err := s.source.Receiver(topic)
	if err != nil {
		return err
	}
	return receiver.Close()
}

// Close ends all subscriptions and waits for them: for what is acked to be
// settled, at most 5 s.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}
