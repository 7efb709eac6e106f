// Package redis is the Redis Streams transport: a publisher and a subscriber
// with consumer groups, four atomic settlements, delayed retries, dead letters
// and reclaim of what crashed consumers held. It works on Redis 6.2 and newer,
// over any go-redis UniversalClient, which stays the caller's to close.
//
// Entries have the format of watermill-redisstream, or that of the TypeScript library
// @logistically/events; see [EnvelopeFormat].
package redis

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

// PublisherConfig configures [NewPublisher].
type PublisherConfig struct {
	// Client is the connection to Redis. Required; never closed here.
	Client goredis.UniversalClient
	// Format is how messages are written. Nil means watermill-redisstream's format; an
	// [EnvelopeFormat] writes for services of the TypeScript library.
	Format Format
	// Pack makes entries of many messages. Nil means an entry for each.
	Pack *PackConfig
}

// Publisher appends messages to streams (XADD). A topic is the key of its stream.
// It is safe for concurrent use.
type Publisher struct {
	client goredis.UniversalClient
	format Format // nil: watermill-redisstream's
	shared sharer // for single messages
	pack   *PackConfig
	closed atomic.Bool
}

// NewPublisher returns a Publisher, or a *events.ConfigError. It does no I/O.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if nilcheck.IsNil(cfg.Client) {
		return nil, &events.ConfigError{Field: "redis.PublisherConfig.Client", Value: nil, Problem: "is nil", Remedy: "pass a client, such as goredis.NewClient's"}
	}
	packing, err := cfg.Pack.complete()
	if err != nil {
		return nil, err
	}
	if err := cfg.checkFormat(); err != nil {
		return nil, err
	}
	return &Publisher{client: cfg.Client, format: cfg.Format, shared: sharer{client: cfg.Client}, pack: packing}, nil
}

// Publish implements message.Publisher. Several messages go out in one round
// trip, as one pipeline of XADDs; single messages of many concurrent calls share
// round trips, too, and those of few go out at once. A nil error means that the
// server has acknowledged each message; an *events.PublishError lists those that it
// has not. After a lost connection such a message may be stored all the same, or,
// since go-redis tries again, twice.
//
// It returns before a context ends only if that is the context of the one message
// and the client was made with ContextTimeoutEnabled.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if p.closed.Load() {
		return fmt.Errorf("redis: publish to %q: publisher %w", topic, events.ErrClosed)
	}
	if err := transport.CheckTopic(topic); err != nil {
		return fmt.Errorf("redis: publish: %w", err)
	}
	if p.pack != nil && len(msgs) >= p.pack.least {
		return p.publishPacked(topic, msgs)
	}
	var room [1]*goredis.StringCmd
	cmds := room[:] // the usual case allocates nothing
	if len(msgs) != 1 {
		cmds = make([]*goredis.StringCmd, len(msgs))
	}
	failed := commands(p.format, topic, msgs, cmds)
	var execErr error
	if len(msgs) == 1 && cmds[0] != nil {
		execErr = p.shared.Process(msgs[0].Context(), cmds[0])
	} else {
		execErr = p.bulk(msgs, cmds)
	}
	for i, cmd := range cmds {
		if cmd == nil || cmd.Val() != "" {
			continue
		}
		// Only an entry id is an acknowledgement: when a connection cannot be
		// made, go-redis may leave commands without an error of their own.
		err := cmp.Or(cmd.Err(), execErr, errNoReply)
		failed = append(failed, events.FailedMessage{Topic: topic, Message: msgs[i], Err: explain(err, topic)})
	}
	if len(failed) > 0 {
		return &events.PublishError{Topic: topic, Total: len(msgs), Failed: failed}
	}
	return nil
}

// commands makes the XADD of each message, and returns those that cannot be sent,
// whose commands stay nil.
func commands(format Format, topic string, msgs []*message.Message, cmds []*goredis.StringCmd) (failed []events.FailedMessage) {
	var adding adding
	if format == nil {
		adding = newAdding(topic, msgs)
	}
	for i, msg := range msgs {
		err := sendable(msg)
		if err == nil && format != nil {
			cmds[i], err = format.command(topic, msg)
		}
		if err != nil {
			failed = append(failed, failedMessage(topic, msg, err))
			continue
		}
		if format == nil {
			cmds[i] = adding.command(msg)
		}
	}
	return failed
}

// sendable returns an error if a message cannot be sent.
func sendable(msg *message.Message) error {
	err := check(msg)
	if err == nil && msg.Context().Err() != nil {
		err = context.Cause(msg.Context())
	}
	return err
}

func failedMessage(topic string, msg *message.Message, err error) events.FailedMessage {
	if msg == nil {
		msg = message.NewMessage("", nil)
	}
	return events.FailedMessage{Topic: topic, Message: msg, Err: err}
}

// bulk sends all messages in one round trip. The end of one message's context is
// not that of the others.
func (p *Publisher) bulk(msgs []*message.Message, cmds []*goredis.StringCmd) error {
	pipe := p.client.Pipeline()
	ctx := context.Background()
	for i, cmd := range cmds {
		if cmd == nil {
			continue
		}
		if pipe.Len() == 0 {
			ctx = context.WithoutCancel(msgs[i].Context())
		}
		if err := pipe.Process(ctx, cmd); err != nil {
			return err
		}
	}
	_, err := pipe.Exec(ctx)
	return err
}

// Close makes further calls of Publish fail with events.ErrClosed. It does not
// close the client and may be called twice.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}
