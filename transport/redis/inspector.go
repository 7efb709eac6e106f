package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/topic.lua
	topicSource string
	//go:embed scripts/tidy.lua
	tidySource string

	topicScript = goredis.NewScript(topicSource)
	tidyScript  = goredis.NewScript(tidySource)
)

var (
	// ErrNoTopic says that a topic does not exist: nothing was ever published to
	// it, and no group was ever opened on it.
	ErrNoTopic = errors.New("no such topic")
	// ErrNoGroup says that a topic has no such group, or does not exist.
	ErrNoGroup = errors.New("no such group")
)

// InspectorConfig configures [NewInspector].
type InspectorConfig struct {
	// Client is the connection to Redis. Required; never closed here.
	Client goredis.UniversalClient
	// DeadLetterTopic is that of [SubscriberConfig]. Nil means transport.DeadLetterTopic.
	DeadLetterTopic func(topic string) string
}

// Inspector tells what is on the server, for tools and for health checks. What
// it says is true at the moment it looks; what one call asks of the server is
// bounded, and said for each. It is safe for concurrent use.
type Inspector struct {
	cfg InspectorConfig
}

// NewInspector returns an Inspector, or a *events.ConfigError. It does no I/O.
func NewInspector(cfg InspectorConfig) (*Inspector, error) {
	if nilcheck.IsNil(cfg.Client) {
		return nil, &events.ConfigError{Field: "redis.InspectorConfig.Client", Value: nil, Problem: "is nil", Remedy: "pass a client, such as goredis.NewClient's"}
	}
	if cfg.DeadLetterTopic == nil {
		cfg.DeadLetterTopic = transport.DeadLetterTopic
	}
	return &Inspector{cfg}, nil
}

// TopicInfo is what there is of a topic. Entries are dated by their ids, in
// milliseconds of the server's clock.
type TopicInfo struct {
	Topic  string
	Length int64 // entries (XLEN)
	// FirstID and LastID are of the oldest and the newest entry, First and Last
	// are when they were stored; empty and zero if there is none.
	FirstID, LastID string
	First, Last     time.Time
	// Bytes is how much memory the stream takes, as the server guesses from a
	// few samples (MEMORY USAGE).
	Bytes       int64
	DeadLetters int64 // entries of its dead-letter topic (XLEN)
	Groups      []GroupInfo
}

// GroupInfo is what there is of a group on a topic. Lag is what it has not begun;
// Pending, Retries and Delayed together are what it has begun and not settled.
type GroupInfo struct {
	Name          string
	Consumers     int64  // see Inspector.Consumers
	LastDelivered string // the id up to which entries were read
	Lag           Lag
	// Pending is how many entries of the topic were read and are not settled, and
	// Oldest the oldest of them, nil if there are none (XPENDING).
	Pending int64
	Oldest  *PendingInfo
	// Retries is how many retries and released messages wait or are being
	// handled: the length of the group's retry stream (XLEN).
	Retries int64
	// Delayed is how many retries are not due (ZCARD), and NextDue when the first
	// of them is, or was, if nobody works for the group; zero if there is none.
	Delayed int64
	NextDue time.Time
}

// Lag is how many entries of a topic a group has not read.
type Lag struct {
	Entries int64
	Kind    LagKind
}

// LagKind says how much a Lag is worth.
type LagKind int

const (
	// LagUnknown means that there are more than Entries, and that the server
	// cannot tell how many (Redis 6.2; after trimming or deleting entries).
	LagUnknown LagKind = iota
	// LagEstimated is the server's word, which after trimming can be too high.
	LagEstimated
	// LagCounted is exact. Up to 1000 entries or 1 MiB of them are counted.
	LagCounted
)

// String returns "7", "~7000" if that is an estimate, ">1000" if it is unknown.
func (l Lag) String() string {
	prefix := map[LagKind]string{LagUnknown: ">", LagEstimated: "~"}[l.Kind]
	return fmt.Sprint(prefix, l.Entries)
}

const (
	countEntries = 1000
	countBytes   = 1 << 20
)

// Topic looks at a topic, at its groups, and at the keys that belong to them. It
// takes two round trips: one script (XRANGE, XINFO GROUPS, XPENDING), which reads two
// entries and for each group up to 1000 entries or about 1 MiB that it has not
// read, and one pipeline. The error wraps [ErrNoTopic] if there is no such topic.
func (i *Inspector) Topic(ctx context.Context, topic string) (TopicInfo, error) {
	info := TopicInfo{Topic: topic}
	if err := transport.CheckTopic(topic); err != nil {
		return info, fmt.Errorf("redis: inspect: %w", err)
	}
	dead, err := transport.DeriveTopic(i.cfg.DeadLetterTopic, topic)
	if err != nil {
		return info, fmt.Errorf("redis: inspect %q: InspectorConfig.DeadLetterTopic: %w", topic, err)
	}
	reply, err := topicScript.Run(ctx, i.cfg.Client, []string{topic}, countEntries, countBytes).Slice()
	if err != nil {
		return info, inspectError(err, topic, "")
	}
	info.read(reply)
	if err := i.readKeys(ctx, &info, dead); err != nil {
		return info, inspectError(err, topic, "")
	}
	return info, nil
}

// read takes what topic.lua returns.
func (info *TopicInfo) read(reply row) {
	info.Length, info.FirstID, info.LastID = reply.number(0), reply.text(1), reply.text(2)
	info.First, info.Last = storedAt(info.FirstID), storedAt(info.LastID)
	groups := reply.row(3)
	for n := range groups {
		g := groups.row(n)
		group := GroupInfo{Name: g.text(0), Consumers: g.number(1), LastDelivered: g.text(2), Pending: g.number(6)}
		group.Lag = lag(g.number(3), g.number(4), g.number(5) == 1)
		if len(g) > 7 {
			group.Oldest = &PendingInfo{ID: g.text(7), Stored: storedAt(g.text(7)), Consumer: g.text(8), Idle: milliseconds(g.number(9)), Deliveries: g.number(10)}
		}
		info.Groups = append(info.Groups, group)
	}
}

// lag weighs what the server says (-1: nothing) against what was counted.
func lag(server, counted int64, all bool) Lag {
	switch {
	case all:
		return Lag{counted, LagCounted}
	case server > counted:
		return Lag{server, LagEstimated}
	}
	return Lag{counted, LagUnknown}
}

// readKeys looks at the keys beside the topic's stream.
func (i *Inspector) readKeys(ctx context.Context, info *TopicInfo, dead string) error {
	pipe := i.cfg.Client.Pipeline()
	bytes, letters := pipe.MemoryUsage(ctx, info.Topic), pipe.XLen(ctx, dead)
	type keys struct {
		retries, delayed *goredis.IntCmd
		next             *goredis.ZSliceCmd
	}
	groups := make([]keys, len(info.Groups))
	for n, g := range info.Groups {
		s := stream{topic: info.Topic, group: g.Name}
		groups[n] = keys{pipe.XLen(ctx, s.retryKey()), pipe.ZCard(ctx, s.delayKey()), pipe.ZRangeWithScores(ctx, s.delayKey(), 0, 0)}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) { // MEMORY USAGE of a topic that was deleted just now
		return err
	}
	info.Bytes, info.DeadLetters = bytes.Val(), letters.Val()
	for n, k := range groups {
		g := &info.Groups[n]
		g.Retries, g.Delayed = k.retries.Val(), k.delayed.Val()
		for _, z := range k.next.Val() {
			g.NextDue = time.UnixMilli(int64(z.Score))
		}
	}
	return nil
}

// inspectError says what was looked at, and what there is not.
func inspectError(err error, topic, group string) error {
	what := fmt.Sprintf("%q", topic)
	if group != "" {
		what = fmt.Sprintf("group %q of %s", group, what)
	}
	missing := isReply(err) && strings.Contains(err.Error(), "no such key")
	switch {
	case hasCode(err, "NOGROUP"), missing && group != "":
		err = ErrNoGroup
	case missing:
		err = ErrNoTopic
	default:
		err = explain(err, topic)
	}
	return fmt.Errorf("redis: inspect %s: %w", what, err)
}
