package transport

import (
	"context"
	"errors"
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
	// others flow meanwhile. Zero means 100 ms.
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

var errNacked = errors.New("nacked by the subscriber")

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
		return nil, events.ErrClosed
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
		sub.run(ctx)
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

// Close ends all subscriptions and waits for them.
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

// settleTimeout bounds what a closing subscription spends on outcomes that are
// decided but not yet settled.
const settleTimeout = 5 * time.Second

type subscription struct {
	receiver Receiver
	cfg      SubscriberConfig
	out      chan *message.Message
	slots    chan struct{} // holds one token for each message in flight
	outcomes chan Outcome
	waiting  sync.WaitGroup // one for each message in flight
}

func (s *subscription) run(ctx context.Context) {
	defer close(s.out)
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		s.settle()
	}()
	s.deliver(ctx)
	s.waiting.Wait()
	close(s.outcomes)
	<-settled
	if err := s.receiver.Close(); err != nil {
		s.cfg.Logger.Error("close receiver", "error", err)
	}
}

func (s *subscription) deliver(ctx context.Context) {
	for {
		// One slot before receiving, the others as they are free: a page is
		// never larger than what may be in flight.
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		free := 1 + cap(s.slots) - len(s.slots)
		deliveries, err := s.receiver.Receive(ctx, free)
		if err != nil {
			if ctx.Err() == nil {
				s.cfg.Logger.Error("subscription ends: receive failed", "error", err)
			}
			return
		}
		for i, d := range deliveries {
			if i > 0 {
				s.slots <- struct{}{} // Only deliver takes slots, so one is free.
			}
			if !s.hand(ctx, d) {
				return // Closing the receiver releases the rest of the page.
			}
		}
		if len(deliveries) == 0 {
			<-s.slots
		}
	}
}

// hand passes one delivery on and sees to its settlement in the background.
func (s *subscription) hand(ctx context.Context, d *Delivery) bool {
	msg := d.Message
	msgCtx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(msg.Context(), func() { cancel(context.Cause(msg.Context())) })
	lost := msg.Context()
	msg.SetContext(msgCtx)
	select {
	case s.out <- msg:
	case <-ctx.Done():
		stop()
		cancel(nil)
		return false
	}
	s.waiting.Go(func() {
		defer func() { <-s.slots }()
		defer cancel(nil)
		defer stop()
		select {
		case <-msg.Acked():
			s.outcomes <- d.Ack()
		case <-msg.Nacked():
			s.outcomes <- d.Retry(s.cfg.NackDelay, errNacked)
		case <-lost.Done():
		case <-ctx.Done():
			// Decided and ended at the same moment: what was decided counts.
			select {
			case <-msg.Acked():
				s.outcomes <- d.Ack()
			case <-msg.Nacked():
				s.outcomes <- d.Retry(s.cfg.NackDelay, errNacked)
			default:
			}
		}
	})
	return true
}

// settle gathers what is decided at the same moment into one call.
func (s *subscription) settle() {
	batch := make([]Outcome, 0, cap(s.outcomes))
	for o := range s.outcomes {
		batch = append(batch[:0], o)
		for more := true; more && len(batch) < cap(batch); {
			select {
			case o, ok := <-s.outcomes:
				if more = ok; ok {
					batch = append(batch, o)
				}
			default:
				more = false
			}
		}
		// Settling outlives the subscription's context: what was acked before
		// the end must not come back.
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		if err := s.receiver.Settle(ctx, batch...); err != nil {
			s.cfg.Logger.Error("settle failed", "error", err)
		}
		cancel()
	}
}
