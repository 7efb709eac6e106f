package memory

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// SubscriberConfig configures [NewSubscriber]. Its fields are named as those of
// redis.SubscriberConfig.
type SubscriberConfig struct {
	// Group is the consumer group. Each group gets every message once;
	// consumers of one group share them. Required.
	Group string
	// Start is where a group that does not exist yet begins: "0" or empty with
	// all there is, "$" with what comes.
	Start string
	// Lease is for how long a crashed consumer keeps its deliveries. Zero means 30 s.
	Lease time.Duration
	// Exclusive makes one receiver of the group at a time have a topic, in the way of
	// redis.SubscriberConfig.Exclusive.
	Exclusive bool
	// DeadLetterTopic names the topic of a topic's dead letters. Nil means
	// transport.DeadLetterTopic.
	DeadLetterTopic func(topic string) string
	// MaxInFlight and NackDelay are those of transport.SubscriberConfig.
	MaxInFlight int
	NackDelay   time.Duration
	// Logger gets what could not be settled. Nil means slog.Default().
	Logger *slog.Logger
}

// Subscriber consumes topics as a member of a consumer group. It is a
// message.Subscriber and a transport.Source, and safe for concurrent use.
type Subscriber struct {
	*transport.Subscriber
	broker *Broker
	cfg    SubscriberConfig
	closed atomic.Bool
}

var _ transport.Source = (*Subscriber)(nil)

// NewSubscriber returns a Subscriber, or a *events.ConfigError.
func NewSubscriber(broker *Broker, cfg SubscriberConfig) (*Subscriber, error) {
	bad := func(field string, value any, problem, remedy string) error {
		return &events.ConfigError{Field: "memory." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	switch {
	case broker == nil:
		return nil, bad("NewSubscriber broker", nil, "is nil", "pass memory.NewBroker's")
	case cfg.Group == "":
		return nil, bad("SubscriberConfig.Group", "", "is empty", "name the consumer group, such as the service's name")
	case cfg.Start != "" && cfg.Start != "0" && cfg.Start != "$":
		return nil, bad("SubscriberConfig.Start", cfg.Start, "is no start", `use "0" or "$"`)
	case cfg.Lease < 0:
		return nil, bad("SubscriberConfig.Lease", cfg.Lease, "is negative", "set a duration, or 0 for 30 s")
	case cfg.MaxInFlight < 0:
		return nil, bad("SubscriberConfig.MaxInFlight", cfg.MaxInFlight, "is negative", "set a number of messages, or 0 for 64")
	case cfg.NackDelay < 0:
		return nil, bad("SubscriberConfig.NackDelay", cfg.NackDelay, "is negative", "set a duration, or 0 for 100 ms")
	}
	if cfg.Lease == 0 {
		cfg.Lease = 30 * time.Second
	}
	if cfg.DeadLetterTopic == nil {
		cfg.DeadLetterTopic = transport.DeadLetterTopic
	}
	s := &Subscriber{broker: broker, cfg: cfg}
	s.Subscriber = transport.NewSubscriber(s, transport.SubscriberConfig{MaxInFlight: cfg.MaxInFlight, NackDelay: cfg.NackDelay, Logger: cfg.Logger})
	return s, nil
}

// Close makes further calls of Subscribe and Receiver fail with events.ErrClosed,
// ends all subscriptions and waits for them. Receivers that are open stay open.
func (s *Subscriber) Close() error {
	s.closed.Store(true)
	return s.Subscriber.Close()
}

// Receiver opens a receiver on topics. It implements transport.Source.
func (s *Subscriber) Receiver(topics ...string) (transport.Receiver, error) {
	if s.closed.Load() {
		return nil, fmt.Errorf("memory: open a receiver: subscriber %w", events.ErrClosed)
	}
	if err := transport.CheckTopics(topics...); err != nil {
		return nil, fmt.Errorf("memory: open a receiver: %w", err)
	}
	r := &receiver{broker: s.broker, cfg: s.cfg, closed: make(chan struct{})}
	s.broker.mu.Lock()
	defer s.broker.mu.Unlock()
	for _, name := range topics {
		t := s.broker.topic(name)
		t.group(s.cfg.Group, s.cfg.Start == "$")
		r.topics = append(r.topics, t)
	}
	if s.cfg.Exclusive {
		r.join()
	}
	return r, nil
}
