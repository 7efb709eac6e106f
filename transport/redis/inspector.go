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
	//go:embed scripts/unread.lua
	unreadSource string
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
	// LagCounted is exact. Up to 1000 entries or 256 KiB of them are counted.
	LagCounted
)

// String returns "7", "~7000" if that is an estimate, ">1000" if it is unknown.
func (l Lag) String() string {
	prefix := map[LagKind]string{LagUnknown: ">", LagEstimated: "~"}[l.Kind]
	return fmt.Sprint(prefix, l.Entries)
}

// Counting up to here keeps the server busy for about a millisecond.
const (
	countEntries = 1000
	countBytes   = 256 << 10
)

// Topic looks at a topic, at its groups, and at the keys that belong to them. It
// takes two round trips: a script that reads the first and the last entry (XINFO
// GROUPS, XPENDING, XRANGE), and a pipeline that counts for each group what it has
// not read, up to 1000 entries or 256 KiB (XRANGE), and sizes up its other keys. The
// error wraps [ErrNoTopic] if there is no such topic.
func (i *Inspector) Topic(ctx context.Context, topic string) (TopicInfo, error) {
	info := TopicInfo{Topic: topic}
	if err := transport.CheckTopic(topic); err != nil {
		return info, fmt.Errorf("redis: inspect: %w", err)
	}
	dead, err := transport.DeriveTopic(i.cfg.DeadLetterTopic, topic)
	if err != nil {
		return info, fmt.Errorf("redis: inspect %q: InspectorConfig.DeadLetterTopic: %w", topic, err)
	}
	reply, err := topicScript.Run(ctx, i.cfg.Client, []string{topic}).Slice()
	if err != nil {
		return info, inspectError(err, topic, "")
	}
	info.read(reply)
	if err := i.readKeys(ctx, &info, dead); err != nil {
		return info, inspectError(err, topic, "", dead, transport.HashTag(topic)+":*")
	}
	return info, nil
}

// read takes what topic.lua returns. Of lags it has the server's word.
func (info *TopicInfo) read(reply row) {
	info.Length, info.FirstID, info.LastID = reply.number(0), reply.text(1), reply.text(2)
	info.First, info.Last = storedAt(info.FirstID), storedAt(info.LastID)
	groups := reply.row(3)
	for n := range groups {
		g := groups.row(n)
		group := GroupInfo{Name: g.text(0), Consumers: g.number(1), LastDelivered: g.text(2), Lag: Lag{Entries: g.number(3)}, Pending: g.number(4)}
		if len(g) > 5 {
			group.Oldest = &PendingInfo{ID: g.text(5), Stored: storedAt(g.text(5)), Consumer: g.text(6), Idle: milliseconds(g.number(7)), Deliveries: g.number(8)}
		}
		info.Groups = append(info.Groups, group)
	}
}

// groupReplies are what the server says of a group beside its entry in XINFO GROUPS.
type groupReplies struct {
	unread           *goredis.Cmd
	retries, delayed *goredis.IntCmd
	next             *goredis.ZSliceCmd
}

// readKeys counts what groups have not read, and looks at the keys beside the topic's stream.
func (i *Inspector) readKeys(ctx context.Context, info *TopicInfo, dead string) error {
	pipe := i.cfg.Client.Pipeline()
	bytes, letters := pipe.MemoryUsage(ctx, info.Topic), pipe.XLen(ctx, dead)
	replies := make([]groupReplies, len(info.Groups))
	for n, g := range info.Groups {
		s := stream{topic: info.Topic, group: g.Name}
		replies[n] = groupReplies{
			// EVAL, because a pipeline cannot load a script that EVALSHA misses.
			pipe.Eval(ctx, unreadSource, []string{info.Topic}, g.LastDelivered, countEntries, countBytes),
			pipe.XLen(ctx, s.retryKey()), pipe.ZCard(ctx, s.delayKey()), pipe.ZRangeWithScores(ctx, s.delayKey(), 0, 0),
		}
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, goredis.Nil) { // MEMORY USAGE of a topic that was deleted just now
		return err
	}
	info.Bytes, info.DeadLetters = bytes.Val(), letters.Val()
	for n, r := range replies {
		if err := info.Groups[n].read(r); err != nil {
			return err
		}
	}
	return nil
}

func (g *GroupInfo) read(r groupReplies) error {
	counted, err := r.unread.Int64Slice() // how many, and 1 if these are all
	if err == nil && len(counted) != 2 {
		err = errReply
	}
	if err != nil {
		return err
	}
	switch {
	case counted[1] == 1:
		g.Lag = Lag{counted[0], LagCounted}
	case g.Lag.Entries > counted[0]:
		g.Lag.Kind = LagEstimated
	default: // The server does not know, or is wrong.
		g.Lag = Lag{counted[0], LagUnknown}
	}
	g.Retries, g.Delayed = r.retries.Val(), r.delayed.Val()
	for _, z := range r.next.Val() {
		g.NextDue = time.UnixMilli(int64(z.Score))
	}
	return nil
}

// inspectError says what was looked at, and what there is not. The command may have
// been about other keys beside the topic's stream.
func inspectError(err error, topic, group string, others ...string) error {
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
		err = explain(err, append([]string{topic}, others...)...)
	}
	return fmt.Errorf("redis: inspect %s: %w", what, err)
}
