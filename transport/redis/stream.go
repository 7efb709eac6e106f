package redis

import (
	"cmp"
	"context"
	"time"

	"github.com/logistically/events/transport"
)

// stream is one key that a receiver reads: a topic's stream, or the stream of
// a group's retries for it. All keys that belong to a topic share its hash slot.
type stream struct {
	topic  string
	key    string
	start  string // where its group begins if it does not exist yet
	group  string
	dead   string // the stream of the topic's dead letters
	retry  bool
	tenure *tenure   // of an exclusive receiver
	gone   time.Time // when the group was last found gone; guarded by the receiver's lock
}

// streamsOf returns the two streams of a topic.
func (cfg *SubscriberConfig) streamsOf(topic string) ([]*stream, error) {
	dead, err := transport.DeriveTopic(cfg.DeadLetterTopic, topic)
	if err != nil {
		return nil, err
	}
	s := stream{topic: topic, key: topic, start: cfg.Start, group: cfg.Group, dead: dead}
	retries := s
	retries.key, retries.start, retries.retry = s.retryKey(), "0", true
	return []*stream{&s, &retries}, nil
}

func (s *stream) retryKey() string   { return transport.HashTag(s.topic) + ":retry:" + s.group }
func (s *stream) delayKey() string   { return transport.HashTag(s.topic) + ":delay:" + s.group }
func (s *stream) delayedKey() string { return transport.HashTag(s.topic) + ":delayed:" + s.group }

// progressKey is of the hash with what is settled of entries that carry many messages.
func (s *stream) progressKey() string { return transport.HashTag(s.topic) + ":progress:" + s.group }

// deleteFlag tells the scripts to delete what they ack: entries of a retry
// stream are this group's alone.
func (s *stream) deleteFlag() string {
	if s.retry {
		return "1"
	}
	return "0"
}

// createGroups makes the streams and groups that do not exist yet (XGROUP CREATE
// MKSTREAM), and returns how many. A stream for which that fails does not keep the
// others from it.
func (r *receiver) createGroups(ctx context.Context, streams []*stream) (created int64, failed error) {
	for _, s := range streams {
		err := r.createGroup(ctx, s)
		switch {
		case err == nil:
			created++
		case !hasCode(err, "BUSYGROUP"):
			failed = cmp.Or(failed, explain(err, s.key))
		}
	}
	return created, failed
}
