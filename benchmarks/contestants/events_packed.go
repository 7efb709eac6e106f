package contestants

import (
	"context"
	"time"

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
	}
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
