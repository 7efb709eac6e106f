package contestants

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func itoa(n int) string { return strconv.Itoa(n) }

// EventsRedis are the ways of this library over Redis Streams.
func EventsRedis() []harness.Contestant {
	return append(eventsPacked(),
		eventsRedis("events redis", byRouter, nil),
		eventsRedis("events redis, receiver", byReceiver, nil),
		eventsRedis("events redis, subscriber", bySubscriber, nil),
		eventsRedis("events redis, typed handler", byTypedHandler, nil),
		eventsRedis("events redis, chain", byChain(false), nil),
		eventsRedis("events redis, chain + idempotency", byChain(true), nil),
		eventsRedis("events redis, batched", byRouter, &batching.Config{Mode: batching.Wait}),
		eventsRedis("events redis, buffered", byRouter, &batching.Config{Mode: batching.Buffered, MaxSize: 1000, MaxWait: 5 * time.Millisecond}),
	)
}

func eventsRedis(name string, consume consumer, batch *batching.Config) harness.Contestant {
	return eventsRedisPacked(name, nil, consume, batch)
}

// eventsRedisPacked is eventsRedis with a publisher that packs, unless pack is nil.
func eventsRedisPacked(name string, pack *redis.PackConfig, consume consumer, batch *batching.Config) harness.Contestant {
	return harness.Contestant{
		Name: name, Kind: harness.Ours, Library: libraryEvents(), Redis: true, Replays: true,
		Open: func(_ context.Context, env harness.Env) (harness.System, error) {
			client := goredis.NewClient(redisOptions(env))
			o := &ours{topic: env.Topic, load: env.Load, consume: consume, client: client, close: client.Close}
			o.stored = func(ctx context.Context) (int, error) {
				if pack != nil {
					return storedInPacks(ctx, client, env.Topic)
				}
				n, err := client.XLen(ctx, env.Topic).Result()
				return int(n), err
			}
			o.subscriber = func(group string) (message.Subscriber, error) {
				return redis.NewSubscriber(redis.SubscriberConfig{
					Client: client, Group: group, Lease: leaseOf(env), Prefetch: prefetchOf(env.Load),
					MaxInFlight: workers(env.Load), Block: blockOf(env), Logger: slog.New(slog.DiscardHandler),
				})
			}
			pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client, Pack: pack})
			if err == nil {
				err = o.publishTo(pub)
			}
			if err == nil && batch != nil {
				err = o.batch(*batch)
			}
			if err != nil {
				return nil, errors.Join(err, client.Close())
			}
			return o, nil
		},
	}
}

// leaseOf is short where a dead consumer's messages are waited for, and the
// default elsewhere.
func leaseOf(env harness.Env) time.Duration {
	if env.Measure == "recovery" {
		return time.Second
	}
	return 0
}

// blockOf is short, so that rounds end soon; where it is asked what an idle
// consumer costs it is the default.
func blockOf(env harness.Env) time.Duration {
	if env.Measure == "idle" {
		return 0
	}
	return 100 * time.Millisecond
}

// prefetchOf lets as many be read as shall be in flight.
func prefetchOf(load harness.Load) int { return max(load.InFlight, 1000) }
