package e2e

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// The test binary is also the consumer: with envRedis set it consumes until SIGTERM.
const (
	envRedis = "EVENTS_E2E_REDIS"
	envSeed  = "EVENTS_E2E_SEED"
)

const (
	group      = "e2e"
	effectsKey = "e2e:effects" // hash: event id -> how often its effect happened
)

var topics = []string{"webhooks", "code:webhooks", "checks"}

func TestMain(m *testing.M) {
	if addr := os.Getenv(envRedis); addr != "" {
		run := func() error { return consume(addr, os.Getenv(envSeed)) }
		if os.Getenv(envService) != "" {
			run = func() error { return serve(addr) }
		}
		if failing := os.Getenv(envOrders); failing != "" {
			run = func() error { return serveOrders(addr, failing) }
		}
		if _, ok := os.LookupEnv(envHold); ok {
			run = func() error { return hold(addr, os.Getenv(envSeed)) }
		}
		if dir := os.Getenv(envUnpack); dir != "" {
			run = func() error { return unpack(addr, os.Getenv(envSeed), dir) }
		}
		if _, ok := os.LookupEnv(envRetries); ok {
			run = func() error { return retrying(addr) }
		}
		if err := run(); err != nil {
			fmt.Fprintln(os.Stderr, "consumer:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// consume handles webhooks with the five middlewares; its handler fails at
// random before it has its effect.
func consume(addr, seedText string) error {
	ctx, stop := listen()
	defer stop()
	seed, err := strconv.ParseUint(seedText, 10, 64)
	if err != nil {
		return err
	}
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: group, Logger: logger})
	if err != nil {
		return err
	}
	chain, err := chain(client, logger)
	if err != nil {
		return err
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: topics, Concurrency: 8, Logger: logger, RetryDelay: func(int) time.Duration { return 50 * time.Millisecond }})
	if err != nil {
		return err
	}
	r.Use(chain...)
	if err := r.HandleMessage("**", flaky(client, seed)); err != nil {
		return err
	}
	if err := r.Run(ctx); err != nil {
		return err
	}
	s := r.Stats()
	fmt.Printf("consumer %d: received %d, acked %d, retried %d, dead-lettered %d, released %d\n", os.Getpid(), s.Received, s.Acked, s.Retried, s.DeadLettered, s.Released)
	return errors.Join(sub.Close(), client.Close())
}

func chain(client *goredis.Client, logger *slog.Logger) ([]message.HandlerMiddleware, error) {
	schemas, err := schemas()
	if err != nil {
		return nil, err
	}
	store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: client})
	if err != nil {
		return nil, err
	}
	poisonQueue, err := middleware.PoisonQueue(middleware.PoisonConfig{})
	if err != nil {
		return nil, err
	}
	retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 4, InitialInterval: 5 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	validate, err := middleware.Validation(schemas, middleware.ValidationConfig{Logger: logger})
	if err != nil {
		return nil, err
	}
	once, err := middleware.Idempotency(middleware.IdempotencyConfig{Store: store, Scope: group, BusyDelay: 50 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	return []message.HandlerMiddleware{middleware.Tracing(middleware.TracingConfig{}), poisonQueue, retry, validate, once}, nil
}

var (
	errTemporary = errors.New("the shop is closed for a moment")
	errForever   = errors.New("the shop is closed for good")
)

func flaky(client *goredis.Client, seed uint64) message.NoPublishHandlerFunc {
	return func(msg *message.Message) error {
		// rand.Rand is not safe for concurrent use: the draw depends on seed, id and time.
		draw := rand.New(rand.NewPCG(seed, uint64(time.Now().UnixNano()))).IntN(100)
		switch {
		case draw < 6:
			return errTemporary
		case draw < 7:
			return events.RetryAfter(20*time.Millisecond, errTemporary)
		case draw < 9:
			return events.Permanent(errForever)
		case draw < 11:
			panic("the shop is on fire")
		}
		return client.HIncrBy(msg.Context(), effectsKey, msg.UUID, 1).Err()
	}
}
