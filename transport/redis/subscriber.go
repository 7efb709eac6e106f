package redis

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math"
	"os"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
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
	// Start is where a group that does not exist yet begins: "0" (the zero
	// value's meaning) with all there is, "$" with what comes, after an entry
	// id, or at a time; see [StartAt]. (XGROUP CREATE)
	Start string
	// Block is how long one read waits for messages, and so how long Close may
	// take. On a cluster it must be shorter than the client's ReadTimeout. Zero
	// means 1 s. (XREADGROUP BLOCK)
	Block time.Duration
	// Prefetch is how many entries are read ahead of Receive, in pages of up to a
	// quarter of it; up to as many again come from the group's retries and from
	// crashed consumers. What is read counts as delivered: if the process dies, the
	// attempt of all of it is one higher. Zero means 1000. (XREADGROUP COUNT)
	Prefetch int
	// PrefetchBytes ends reading ahead when that much payload waits for Receive;
	// one page may go over it. Zero means 16 MiB.
	PrefetchBytes int
	// Lease is for how long a consumer that is silent keeps its deliveries. A
	// living one renews them every third of it. Zero means 30 s. (XCLAIM, XAUTOCLAIM)
	Lease time.Duration
	// ReclaimInterval is the longest time between two looks for deliveries whose
	// lease has run out, and half of it the shortest, so that consumers spread. Zero
	// means half of Lease. (XAUTOCLAIM)
	ReclaimInterval time.Duration
	// Exclusive makes one receiver of the group at a time read a topic, so that its
	// messages keep their order across processes: a lane with router.LaneConfig.OrderBy
	// then handles those of a key in order whatever consumers come, go or crash. The living
	// receivers of the group share their topics evenly; one that takes a topic over begins with
	// what is pending of the one before. Spread events over topics by key to
	// have work for several; see transport.PartitionTopics.
	//
	// A topic changes hands when its owner has closed its receiver, has been silent for a
	// Lease, or sees (within a tenth of Lease) that another one has at least two topics
	// fewer: then it reads no more, and waits up to a Lease for what is being handled. All
	// consumers of the group on these topics must be exclusive. What is settled by Retry or Release
	// loses its place, as everywhere.
	Exclusive bool
	// DeadLetterTopic names the topic of a topic's dead letters. On Redis Cluster
	// both must be of one hash slot. Nil means transport.DeadLetterTopic.
	DeadLetterTopic func(topic string) string
	// Envelopes says what becomes of doubtful entries of the TypeScript library. Zero
	// takes them.
	Envelopes EnvelopePolicy
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
	cfg       SubscriberConfig
	closed    atomic.Bool
	incidents incidents
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
	if cfg.Lease == 0 {
		cfg.Lease = 30 * time.Second
	}
	if cfg.Block == 0 {
		cfg.Block = time.Second
		if cfg.Exclusive {
			cfg.Block = max(min(cfg.Block, cfg.Lease/4), time.Millisecond)
		}
	}
	if cfg.Prefetch == 0 {
		cfg.Prefetch = 1000
	}
	if cfg.PrefetchBytes == 0 {
		cfg.PrefetchBytes = 16 << 20
	}
	// Beyond this they mean no limit, and must not overflow.
	cfg.Prefetch, cfg.PrefetchBytes = min(cfg.Prefetch, math.MaxInt/4), min(cfg.PrefetchBytes, math.MaxInt/4)
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
	case nilcheck.IsNil(cfg.Client):
		return bad("Client", nil, "is nil", "pass a client, such as goredis.NewClient's")
	case cfg.Group == "":
		return bad("Group", "", "is empty", "name the consumer group, such as the service's name")
	case cfg.Block != 0 && cfg.Block < time.Millisecond:
		return bad("Block", cfg.Block, "is below 1 ms", "set a duration of at least 1 ms, or 0 for 1 s")
	case cfg.Exclusive && cfg.Block > cmp.Or(cfg.Lease, 30*time.Second)/4:
		return bad("Block", cfg.Block, "is over a quarter of Lease though Exclusive is set", "shorten it, or raise Lease: a read must be over before another consumer takes the topic")
	case tooLong(cfg.Client, cfg.Block):
		return bad("Block", cfg.Block, "is not below the cluster client's ReadTimeout", "shorten it, or raise goredis.ClusterOptions.ReadTimeout")
	case cfg.Prefetch < 0:
		return bad("Prefetch", cfg.Prefetch, "is negative", "set a number of entries, or 0 for 1000")
	case cfg.PrefetchBytes < 0:
		return bad("PrefetchBytes", cfg.PrefetchBytes, "is negative", "set a number of bytes, or 0 for 16 MiB")
	case !startPattern.MatchString(cfg.Start):
		return bad("Start", cfg.Start, "is no start", `use "0", "$", or an entry id such as "1700000000000-0"`)
	case cfg.Lease != 0 && cfg.Lease < 10*time.Millisecond:
		return bad("Lease", cfg.Lease, "is below 10 ms", "set a duration, or 0 for 30 s")
	case cfg.ReclaimInterval != 0 && cfg.ReclaimInterval < 10*time.Millisecond:
		return bad("ReclaimInterval", cfg.ReclaimInterval, "is below 10 ms", "set a duration, or 0 for half of Lease")
	case cfg.NackDelay < 0:
		return bad("NackDelay", cfg.NackDelay, "is negative", "set a duration, or 0 for 100 ms")
	case cfg.MaxInFlight < 0:
		return bad("MaxInFlight", cfg.MaxInFlight, "is negative", "set a number of messages, or 0 for 64")
	}
	return nil
}

// Close makes further calls of Subscribe and Receiver fail with events.ErrClosed,
// ends all subscriptions and waits for them. Receivers that are open stay open.
func (s *Subscriber) Close() error {
	s.closed.Store(true)
	return s.Subscriber.Close()
}

// startPattern is what XGROUP CREATE takes.
var startPattern = regexp.MustCompile(`^($|\$$|[0-9]+(-[0-9]+)?$)`)

// consumerName returns the name for one receiver: unless the name is set, a
// second receiver of the same subscriber is a consumer of its own.
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

// tooLong reports whether a cluster client would give up reads before block has passed.
func tooLong(client goredis.UniversalClient, block time.Duration) bool {
	c, ok := client.(*goredis.ClusterClient)
	return ok && c.Options().ReadTimeout > 0 && cmp.Or(block, time.Second) >= c.Options().ReadTimeout
}
