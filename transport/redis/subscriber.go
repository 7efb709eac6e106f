package redis

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

// SubscriberConfig configures [NewSubscriber].
type SubscriberConfig struct {
	// Client is the connection to Redis. Required; never closed here.
	Client goredis.UniversalClient
	// Group is the consumer group. Each group gets every message once;
	// consumers of one group share them. Required.
	Group string
	// Consumer names this consumer; names must differ within a group. Empty
	// means host, process id and a random part.
	Consumer string
	// KeyPrefix is put before each topic to form the stream's key.
	KeyPrefix string
	// Start is where a group that does not exist yet begins: "0" (the zero
	// value's meaning) with all there is, "$" with what comes, or after an
	// entry id. (XGROUP CREATE)
	Start string
	// Block is how long one read waits for messages, and so how long Close may
	// take. Zero means 1 s. (XREADGROUP BLOCK)
	Block time.Duration
	// Prefetch is how many entries are read ahead of Receive. Zero means 256.
	// (XREADGROUP COUNT)
	Prefetch int
	// Lease is for how long a consumer that is silent keeps its deliveries. A
	// living one renews them every third of it. Zero means 30 s. (XCLAIM, XAUTOCLAIM)
	Lease time.Duration
	// ReclaimInterval is how often a consumer looks for deliveries whose lease
	// has run out. Zero means half of Lease. (XAUTOCLAIM)
	ReclaimInterval time.Duration
	// DeadLetterTopic names the topic of a topic's dead letters. On Redis Cluster
	// both must be of one hash slot. Nil means transport.DeadLetterTopic.
	DeadLetterTopic func(topic string) string
	// MaxInFlight and NackDelay are those of transport.SubscriberConfig.
	MaxInFlight int
	NackDelay   time.Duration
	// Logger gets lost connections, re-created groups and undecodable
	// entries. Nil means slog.Default().
	Logger *slog.Logger
}

// Subscriber consumes streams as a member of a consumer group. It is a
// message.Subscriber and a transport.Source, and safe for concurrent use.
type Subscriber struct {
	*transport.Subscriber
	cfg SubscriberConfig
}

var _ transport.Source = (*Subscriber)(nil)

// NewSubscriber returns a Subscriber, or a *events.ConfigError. It does no I/O.
func NewSubscriber(cfg SubscriberConfig) (*Subscriber, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Start == "" {
		cfg.Start = "0"
	}
	if cfg.Block == 0 {
		cfg.Block = time.Second
	}
	if cfg.Prefetch == 0 {
		cfg.Prefetch = 256
	}
	if cfg.Lease == 0 {
		cfg.Lease = 30 * time.Second
	}
	if cfg.ReclaimInterval == 0 {
		cfg.ReclaimInterval = cfg.Lease / 2
	}
	if cfg.DeadLetterTopic == nil {
		cfg.DeadLetterTopic = transport.DeadLetterTopic
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Subscriber{cfg: cfg}
	s.Subscriber = transport.NewSubscriber(s, transport.SubscriberConfig{MaxInFlight: cfg.MaxInFlight, NackDelay: cfg.NackDelay, Logger: cfg.Logger})
	return s, nil
}

func (cfg *SubscriberConfig) check() error {
	bad := func(field string, value any, problem, remedy string) error {
		return &events.ConfigError{Field: "redis.SubscriberConfig." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	switch {
	case cfg.Client == nil:
		return bad("Client", nil, "is nil", "pass a client, such as goredis.NewClient's")
	case cfg.Group == "":
		return bad("Group", "", "is empty", "name the consumer group, such as the service's name")
	case cfg.Block != 0 && cfg.Block < time.Millisecond:
		return bad("Block", cfg.Block, "is below 1 ms", "set a duration of at least 1 ms, or 0 for 1 s")
	case cfg.Prefetch < 0:
		return bad("Prefetch", cfg.Prefetch, "is negative", "set a number of entries, or 0 for 256")
	case cfg.Lease != 0 && cfg.Lease < 10*time.Millisecond:
		return bad("Lease", cfg.Lease, "is below 10 ms", "set a duration, or 0 for 30 s")
	case cfg.ReclaimInterval < 0:
		return bad("ReclaimInterval", cfg.ReclaimInterval, "is negative", "set a duration, or 0 for half of Lease")
	case cfg.MaxInFlight < 0:
		return bad("MaxInFlight", cfg.MaxInFlight, "is negative", "set a number of messages, or 0 for 64")
	}
	return nil
}

// consumerName returns the name for one receiver: a second receiver of the same
// subscriber is a consumer of its own.
func (s *Subscriber) consumerName() string {
	if s.cfg.Consumer != "" {
		return s.cfg.Consumer
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:8])
}
