package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

// PendingInfo is an entry that was read and is not settled.
type PendingInfo struct {
	ID     string
	Stored time.Time // by its id
	// Consumer has it, and Idle is the time since it was last delivered or its
	// lease was renewed.
	Consumer string
	Idle     time.Duration
	// Deliveries is how often it was delivered: once, and once more for each
	// consumer that has lost it. Retries and releases are entries of their own.
	Deliveries int64
}

// ConsumerInfo is a member of a group on a topic.
type ConsumerInfo struct {
	Name    string
	Pending int64 // entries that it has read and not settled
	// Idle is the time since it last did anything. Before Redis 7.2 reading
	// without result does not count.
	Idle time.Duration
}

// DeadLetter is an entry of a dead-letter topic.
type DeadLetter struct {
	ID     string
	Stored time.Time // when it was given up
	Reason string    // why, as in transport.MetadataFailureReason
	// Message is nil if the entry is no message: if it was undecodable to begin with.
	Message *message.Message
	Values  map[string]any // the fields of the entry as they are; see Decode
}

// Pending returns up to most entries that a group has read and not settled, oldest
// first, after the id that a page before has ended with; empty begins with the oldest
// (XPENDING). The error wraps [ErrNoGroup] if there is no such group.
func (i *Inspector) Pending(ctx context.Context, topic, group, after string, most int) ([]PendingInfo, error) {
	start := "-"
	if after != "" {
		start = "(" + after
	}
	page, err := i.cfg.Client.XPendingExt(ctx, &goredis.XPendingExtArgs{Stream: topic, Group: group, Start: start, End: "+", Count: int64(max(most, 1))}).Result()
	if err != nil {
		return nil, inspectError(err, topic, group)
	}
	infos := make([]PendingInfo, len(page))
	for n, p := range page {
		infos[n] = PendingInfo{ID: p.ID, Stored: storedAt(p.ID), Consumer: p.Consumer, Idle: p.Idle, Deliveries: p.RetryCount}
	}
	return infos, nil
}

// Consumers returns the consumers that a group has on a topic, all of them (XINFO
// CONSUMERS). The error wraps [ErrNoGroup] if there is no such group.
func (i *Inspector) Consumers(ctx context.Context, topic, group string) ([]ConsumerInfo, error) {
	consumers, err := i.cfg.Client.XInfoConsumers(ctx, topic, group).Result()
	if err != nil {
		return nil, inspectError(err, topic, group)
	}
	infos := make([]ConsumerInfo, len(consumers))
	for n, c := range consumers {
		infos[n] = ConsumerInfo{Name: c.Name, Pending: c.Pending, Idle: c.Idle}
	}
	return infos, nil
}

// DeadLetters returns up to most dead letters of a topic, newest first, before the
// id that a page before has ended with; empty begins with the newest (XREVRANGE). A
// topic that has none, or does not exist, has an empty list.
func (i *Inspector) DeadLetters(ctx context.Context, topic, before string, most int) ([]DeadLetter, error) {
	dead, err := transport.DeriveTopic(i.cfg.DeadLetterTopic, topic)
	if err != nil {
		return nil, fmt.Errorf("redis: inspect %q: InspectorConfig.DeadLetterTopic: %w", topic, err)
	}
	start := "+"
	if before != "" {
		start = "(" + before
	}
	entries, err := i.cfg.Client.XRevRangeN(ctx, dead, start, "-", int64(max(most, 1))).Result()
	if err != nil {
		return nil, inspectError(err, dead, "")
	}
	letters := make([]DeadLetter, len(entries))
	for n, e := range entries {
		l := DeadLetter{ID: e.ID, Stored: storedAt(e.ID), Values: e.Values}
		l.Reason, _ = e.Values[transport.MetadataFailureReason].(string) // of an entry that is no message
		if msg, err := Decode(e.Values); err == nil {
			l.Message = msg
			if reason := msg.Metadata[transport.MetadataFailureReason]; reason != "" {
				l.Reason = reason
			}
		}
		letters[n] = l
	}
	return letters, nil
}

// RemoveIdleConsumers deletes from a group, on a topic and on the group's retries of
// it, the consumers that have nothing pending and have done nothing for at least
// idle, and returns their names: what crashed processes leave behind, since each
// process has a name of its own. It looks and deletes in one step, so that nothing
// pending is lost with them, and one that lives is a member again with its next
// read. The error wraps [ErrNoGroup] if there is no such group.
func (i *Inspector) RemoveIdleConsumers(ctx context.Context, topic, group string, idle time.Duration) (names []string, err error) {
	s := stream{topic: topic, group: group}
	seen := map[string]bool{}
	for _, key := range []string{topic, s.retryKey()} {
		removed, err := tidyScript.Run(ctx, i.cfg.Client, []string{key}, group, idle.Milliseconds()).StringSlice()
		if err != nil {
			err = inspectError(err, key, group)
			if key != topic && errors.Is(err, ErrNoGroup) { // A group of another library's has no retries.
				break
			}
			return names, err
		}
		for _, name := range removed {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names, nil
}
