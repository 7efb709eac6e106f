package contestants

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/logistically/events/benchmarks/harness"
)

// Asynq is a task queue over Redis lists.
func Asynq() harness.Contestant {
	return harness.Contestant{
		Name:    "asynq",
		Kind:    harness.Peer,
		Library: libraryVersion("github.com/hibiken/asynq"),
		Redis:   true,
		Limits: map[string]string{
			"fanout":   "is a queue: each task goes to one worker, there are no groups",
			"recovery": "its lease of 30 s, looked at once a minute, cannot be configured",
		},
		Open: func(_ context.Context, env harness.Env) (harness.System, error) {
			redis := asynq.RedisClientOpt{Addr: env.Redis, PoolSize: redisOptions(env).PoolSize}
			return &asynqSystem{env: env, redis: redis, client: asynq.NewClient(redis), inspector: asynq.NewInspector(redis)}, nil
		},
	}
}

const (
	asynqType = "bench.event"
	// asynqPoll is how often an empty queue is looked at, where the default is 1 s:
	// fast enough for a fair latency, at the cost of some hundred idle commands a second.
	asynqPoll = 10 * time.Millisecond
)

type asynqSystem struct {
	env       harness.Env
	redis     asynq.RedisClientOpt
	client    *asynq.Client
	inspector *asynq.Inspector
}

// Publish enqueues one task after the other: asynq has no call for several.
func (s *asynqSystem) Publish(ctx context.Context, bodies [][]byte) error {
	for i, body := range bodies {
		if _, err := s.client.EnqueueContext(ctx, asynq.NewTask(asynqType, body), asynq.Queue(s.env.Topic)); err != nil {
			return fmt.Errorf("enqueue task %d of %d: %w", i+1, len(bodies), err)
		}
	}
	return nil
}

// Consume ignores the group. The context of a handler ends with ctx.
func (s *asynqSystem) Consume(ctx context.Context, _ string, handle harness.Handler) error {
	cfg := asynq.Config{
		Concurrency:       inFlight(s.env.Load),
		Queues:            map[string]int{s.env.Topic: 1},
		LogLevel:          asynq.FatalLevel,
		TaskCheckInterval: asynqPoll,
		RetryDelayFunc:    func(int, error, *asynq.Task) time.Duration { return retryDelay },
		ShutdownTimeout:   time.Second,
	}
	if s.env.Load.Fails > 0 { // The default looks for tasks to retry every 5 s.
		cfg.DelayedTaskCheckInterval = asynqPoll
	}
	server := asynq.NewServer(s.redis, cfg)
	var handlers sync.WaitGroup // Shutdown leaves those alone that outlast its timeout.
	defer handlers.Wait()
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, task *asynq.Task) error {
		handlers.Add(1)
		defer handlers.Done()
		return handle(ctx, task.Payload())
	}))
	if err != nil {
		return fmt.Errorf("start asynq's server: %w", err)
	}
	<-ctx.Done()
	server.Shutdown()
	return nil
}

func (s *asynqSystem) Stored(context.Context) (int, error) {
	queue, err := s.inspector.GetQueueInfo(s.env.Topic)
	if errors.Is(err, asynq.ErrQueueNotFound) {
		return 0, nil // Nothing was enqueued yet.
	}
	if err != nil {
		return 0, fmt.Errorf("inspect the queue: %w", err)
	}
	return queue.Pending, nil
}

func (s *asynqSystem) Close() error { return errors.Join(s.client.Close(), s.inspector.Close()) }
