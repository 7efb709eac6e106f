package contestants

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/redis/go-redis/v9"
)

// Redisstream is Watermill's Redis Streams transport, by its Publisher and Subscriber.
func Redisstream() harness.Contestant {
	return redisstreamContestant("watermill redisstream", redisstreamSubscriber)
}

// RedisstreamRouter is the same through Watermill's Router.
func RedisstreamRouter() harness.Contestant {
	return redisstreamContestant("watermill redisstream, router", func(ctx context.Context, s *redisstreamSystem, sub message.Subscriber, handle harness.Handler) error {
		return watermillRouter(ctx, sub, s.env.Topic, handle)
	})
}

// RedisstreamChain is the same through the Router with Watermill's own poison
// queue, retry, timeout and recoverer around the handler.
func RedisstreamChain() harness.Contestant {
	return redisstreamContestant("watermill redisstream, chain", func(ctx context.Context, s *redisstreamSystem, sub message.Subscriber, handle harness.Handler) error {
		chain, err := watermillChain(s.pub, s.env.Topic)
		if err != nil {
			return err
		}
		return watermillRouter(ctx, sub, s.env.Topic, handle, chain...)
	})
}

type redisstreamConsumer func(ctx context.Context, s *redisstreamSystem, sub message.Subscriber, handle harness.Handler) error

func redisstreamContestant(name string, consume redisstreamConsumer) harness.Contestant {
	return harness.Contestant{
		Name:    name,
		Kind:    harness.Peer,
		Library: libraryVersion("github.com/ThreeDotsLabs/watermill-redisstream"),
		Redis:   true,
		Replays: true,
		Limits: map[string]string{
			"memory": "a subscription hands out one message and waits for its acknowledgement: no more than one is in flight",
		},
		Open: func(_ context.Context, env harness.Env) (harness.System, error) {
			pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{
				Client: redis.NewClient(redisOptions(env)), // Close of the publisher closes it
			}, watermill.NopLogger{})
			if err != nil {
				return nil, err
			}
			return &redisstreamSystem{
				env: env, pub: pub, consume: consume,
				client: redis.NewClient(&redis.Options{Addr: env.Redis, PoolSize: 1}),
			}, nil
		},
	}
}

type redisstreamSystem struct {
	env     harness.Env
	pub     message.Publisher
	consume redisstreamConsumer
	client  *redis.Client // only counts
}

// Publish is one call of Watermill's Publish, which sends one XADD after the other.
func (s *redisstreamSystem) Publish(ctx context.Context, bodies [][]byte) error {
	return s.pub.Publish(s.env.Topic, watermillMessages(ctx, bodies)...)
}

func (s *redisstreamSystem) Consume(ctx context.Context, group string, handle harness.Handler) error {
	cfg := redisstream.SubscriberConfig{
		Client:        redis.NewClient(redisOptions(s.env)), // Close of the subscriber closes it
		ConsumerGroup: group,
		Consumer:      watermill.NewShortUUID(),
		OldestId:      "0",
		// Otherwise the first read blocks for ever, beyond the end of ctx.
		DisableIndefiniteInitialBlock: true,
		BlockTime:                     redisstream.DefaultBlockTime, // 100 ms
		// The transport's own way to retry later, which blocks the subscription
		// meanwhile. Its default, NoSleep, sends the message again at once.
		NackResendSleep: retryDelay,
	}
	if s.env.Load.InFlight > 0 { // Recovery: the default lease is a minute, looked at every 5 s.
		cfg.MaxIdleTime, cfg.ClaimInterval, cfg.ClaimBatchSize = lease, claimInterval, 1000
	}
	sub, err := redisstream.NewSubscriber(cfg, watermill.NopLogger{})
	if err != nil {
		return errors.Join(err, cfg.Client.Close())
	}
	return errors.Join(s.consume(ctx, s, sub, handle), sub.Close())
}

// Leases of contestants that can be told, where a crashed consumer is measured.
const (
	lease         = time.Second
	claimInterval = 500 * time.Millisecond
)

func redisstreamSubscriber(ctx context.Context, s *redisstreamSystem, sub message.Subscriber, handle harness.Handler) error {
	msgs, err := sub.Subscribe(ctx, s.env.Topic)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	// One is in flight at a time, so that more goroutines would only wait.
	return drain(ctx, msgs, 1, handle)
}

func (s *redisstreamSystem) Stored(ctx context.Context) (int, error) {
	return storedInStream(ctx, s.client, s.env.Topic)
}

func (s *redisstreamSystem) Close() error { return errors.Join(s.pub.Close(), s.client.Close()) }

func storedInStream(ctx context.Context, client *redis.Client, topic string) (int, error) {
	n, err := client.XLen(ctx, topic).Result()
	if err != nil {
		return 0, fmt.Errorf("count the stream's entries: %w", err)
	}
	return int(n), nil
}

func watermillMessages(ctx context.Context, bodies [][]byte) []*message.Message {
	msgs := make([]*message.Message, len(bodies))
	for i, body := range bodies {
		msgs[i] = message.NewMessageWithContext(ctx, watermill.NewUUID(), body)
	}
	return msgs
}

// watermillRouter runs Watermill's Router with one handler until ctx ends.
func watermillRouter(ctx context.Context, sub message.Subscriber, topic string, handle harness.Handler, chain ...message.HandlerMiddleware) error {
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("make Watermill's router: %w", err)
	}
	r.AddMiddleware(chain...)
	r.AddConsumerHandler("bench", topic, sub, func(msg *message.Message) error { return handle(msg.Context(), msg.Payload) })
	if err := r.Run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("run Watermill's router: %w", err)
	}
	return nil
}

// watermillChain is Watermill's middleware in the order that works: what retries
// do not mend goes to the poison queue, and each attempt has its own deadline.
func watermillChain(pub message.Publisher, topic string) ([]message.HandlerMiddleware, error) {
	poison, err := middleware.PoisonQueueWithFilter(pub, topic+":poison", func(err error) bool {
		return !errors.Is(err, context.Canceled) // the end of Consume is no fault of the message
	})
	if err != nil {
		return nil, fmt.Errorf("make Watermill's poison queue: %w", err)
	}
	retry := middleware.Retry{
		MaxRetries: 3, InitialInterval: retryDelay, MaxInterval: retryDelay, Multiplier: 1,
		ResetContextOnRetry: true, // Timeout cancels the context of the attempt before
	}
	return []message.HandlerMiddleware{poison, retry.Middleware, middleware.Timeout(30 * time.Second), middleware.Recoverer}, nil
}
