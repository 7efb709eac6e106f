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
}

// Publisher appends messages to streams (XADD). A topic is the key of its stream.
// It is safe for concurrent use.
type Publisher struct {
	client goredis.UniversalClient
	shared processor    // as client, but calls of one moment share a round trip
	calls  atomic.Int64 // single messages under way
	closed atomic.Bool
}

// processor sends one command and waits for its reply.
type processor interface {
	Process(ctx context.Context, cmd goredis.Cmder) error
}

// NewPublisher returns a Publisher, or a *events.ConfigError. It does no I/O.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if nilcheck.IsNil(cfg.Client) {
		return nil, &events.ConfigError{Field: "redis.PublisherConfig.Client", Value: nil, Problem: "is nil", Remedy: "pass a client, such as goredis.NewClient's"}
	}
	p := &Publisher{client: cfg.Client, shared: cfg.Client}
	if c, ok := cfg.Client.(interface { // *goredis.Client and *goredis.ClusterClient
		AutoPipeline() (*goredis.AutoPipeliner, error)
	}); ok {
		// It is the client's, and ends with it. Where it cannot be had (the client is
		// closed) calls say so themselves.
		if shared, err := c.AutoPipeline(); err == nil {
			p.shared = shared
		}
	}
	return p, nil
}

// Publish implements message.Publisher. Several messages go out in one round
// trip, as one pipeline of XADDs; single messages of many concurrent calls share
// round trips, too (go-redis's AutoPipeline), and those of few go out at once. A nil
// error means that the server has acknowledged each message; an *events.PublishError
// lists those that it has not. After a lost connection such a message may be
// stored all the same, or, since go-redis tries again, twice.
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
	cmds, failed := p.commands(topic, msgs)
	var execErr error
	if len(msgs) == 1 && cmds[0] != nil {
		execErr = p.single(msgs[0].Context(), cmds[0])
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
		failed.Failed = append(failed.Failed, events.FailedMessage{Topic: topic, Message: msgs[i], Err: explain(err, topic)})
	}
	if len(failed.Failed) > 0 {
		return failed
	}
	return nil
}

// commands returns the XADD of each message; nil for those that cannot be sent.
func (p *Publisher) commands(topic string, msgs []*message.Message) ([]*goredis.StringCmd, *events.PublishError) {
	failed := &events.PublishError{Topic: topic, Total: len(msgs)}
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
		cmds[i] = goredis.NewStringCmd(msg.Context(), append([]any{"xadd", topic, "*"}, values...)...)
	}
	return cmds, failed
}

// few is up to how many single messages under way go out each by itself. They
// have not much to share, and waiting for each other costs them up to a millisecond.
const few = 8

// single sends one message.
func (p *Publisher) single(ctx context.Context, cmd *goredis.StringCmd) error {
	defer p.calls.Add(-1)
	if p.calls.Add(1) <= few {
		return p.client.Process(ctx, cmd)
	}
	return p.shared.Process(ctx, cmd)
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
		ctx = context.WithoutCancel(msgs[i].Context())
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
