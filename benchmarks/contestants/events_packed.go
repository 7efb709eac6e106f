package contestants

import (
	"context"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// eventsPacked are the ways of this library with many messages in a stream entry.
// An entry has at most as many messages as one call publishes.
func eventsPacked() []harness.Contestant {
	pack := &redis.PackConfig{MaxMessages: 1000}
	return []harness.Contestant{
		eventsRedisPacked("events redis, packed", pack, byRouter, nil),
		eventsRedisPacked("events redis, packed, receiver", pack, byReceiver, nil),
		eventsRedisPacked("events redis, packed, buffered", pack, byRouter, &batching.Config{Mode: batching.Buffered, MaxWait: 5 * time.Millisecond}),
		transportAlone(eventsRedisPacked("events redis, packed, transport", pack, byReceiver, nil)),
		transportAlone(eventsRedis("events redis, transport", byReceiver, nil)),
	}
}

// transportAlone publishes messages that were made before: what the transport costs,
// without header, hash and codec.
func transportAlone(c harness.Contestant) harness.Contestant {
	open := c.Open
	c.Open = func(ctx context.Context, env harness.Env) (harness.System, error) {
		system, err := open(ctx, env)
		if err != nil {
			return nil, err
		}
		return &premade{ours: system.(*ours)}, nil
	}
	return c
}

// premade makes the messages of a page of bodies once.
type premade struct {
	*ours
	pages sync.Map // of []*message.Message, by the first body's address
}

func (p *premade) Publish(ctx context.Context, bodies [][]byte) error {
	if made, ok := p.pages.Load(&bodies[0]); ok {
		return p.bulk.Publish(p.topic, made.([]*message.Message)...)
	}
	msgs, err := events.Messages(ctx, p.facade, eventType, bodies)
	if err != nil {
		return err
	}
	p.pages.Store(&bodies[0], msgs)
	return p.bulk.Publish(p.topic, msgs...)
}

// storedInPacks counts messages, not entries.
func storedInPacks(ctx context.Context, client *goredis.Client, topic string) (n int, err error) {
	for from := "-"; ; {
		entries, err := client.XRangeN(ctx, topic, from, "+", 100).Result()
		if err != nil || len(entries) == 0 {
			return n, err
		}
		for _, e := range entries {
			msgs, err := redis.DecodeAll(e.Values)
			if err != nil {
				return 0, err
			}
			n += len(msgs)
		}
		from = "(" + entries[len(entries)-1].ID
	}
}
