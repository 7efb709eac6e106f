// Package redis is the Redis Streams transport: a publisher and a subscriber
// with consumer groups, four atomic settlements, delayed retries, dead letters
// and reclaim of what crashed consumers held. It works on Redis 6.2 and newer,
// over any go-redis UniversalClient, which stays the caller's to close.
//
// Entries have the format of watermill-redisstream.
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	goredis "github.com/redis/go-redis/v9"
)

// PublisherConfig configures [NewPublisher].
type PublisherConfig struct {
	// Client is the connection to Redis. Required; never closed here.
	Client goredis.UniversalClient
	// KeyPrefix is put before each topic to form the stream's key.
	KeyPrefix string
}

// Publisher appends messages to streams (XADD). It is safe for concurrent use.
type Publisher struct {
	cfg    PublisherConfig
	closed atomic.Bool
}

// NewPublisher returns a Publisher, or a *events.ConfigError. It does no I/O.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if cfg.Client == nil {
		return nil, &events.ConfigError{Field: "redis.PublisherConfig.Client", Value: nil, Problem: "is nil", Remedy: "pass a client, such as goredis.NewClient's"}
	}
	return &Publisher{cfg: cfg}, nil
}

// Publish implements message.Publisher: all messages go out in one round trip,
// as one pipeline of XADDs. A nil error means that the server has acknowledged
// each of them; an *events.PublishError lists those that it has not. After a
// lost connection such a message may be stored all the same.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if p.closed.Load() {
		return fmt.Errorf("redis: publish to %q: publisher %w", topic, events.ErrClosed)
	}
	if topic == "" {
		return errors.New("redis: publish: the topic is empty")
	}
	failed := &events.PublishError{Topic: topic, Total: len(msgs)}
	key := p.cfg.KeyPrefix + topic
	ctx := context.Background()
	pipe := p.cfg.Client.Pipeline()
	cmds := make([]*goredis.StringCmd, len(msgs))
	for i, msg := range msgs {
		values, err := Encode(msg)
		if err == nil && msg.Context().Err() != nil {
			err = context.Cause(msg.Context())
		}
		if err != nil {
			if msg == nil {
				msg = message.NewMessage("", nil)
			}
			failed.Failed = append(failed.Failed, events.FailedMessage{Topic: topic, Message: msg, Err: err})
			continue
		}
		ctx = msg.Context()
		cmds[i] = pipe.XAdd(ctx, &goredis.XAddArgs{Stream: key, Values: values})
	}
	if len(msgs) > 1 {
		ctx = context.WithoutCancel(ctx) // One message's end is not the others'.
	}
	_, execErr := pipe.Exec(ctx)
	for i, cmd := range cmds {
		if cmd == nil || cmd.Val() != "" {
			continue
		}
		// Only an entry id is an acknowledgement: when a connection cannot be
		// made, go-redis may leave commands without an error of their own.
		err := cmp.Or(cmd.Err(), execErr, errNoReply)
		failed.Failed = append(failed.Failed, events.FailedMessage{Topic: topic, Message: msgs[i], Err: explain(err, key)})
	}
	if len(failed.Failed) > 0 {
		return failed
	}
	return nil
}

// Close makes further calls of Publish fail with events.ErrClosed. It does not
// close the client and may be called twice.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}
