package contestants

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/redis"
)

// byChain is the router with a typed handler in tracing (no provider), poison queue,
// retry, timeout and recoverer, and in idempotency on Redis if so asked.
func byChain(idempotent bool) consumer {
	return func(ctx context.Context, o *ours, group string, sub message.Subscriber, handle harness.Handler) error {
		return o.route(ctx, sub, func(r *router.Router) error {
			chain, err := o.chain(group, idempotent)
			if err != nil {
				return err
			}
			r.Use(chain...)
			return router.Handle(r, eventType, func(ctx context.Context, ev events.Event[benchEvent]) error {
				return handle(ctx, []byte(`{"n":"`+ev.Body.N+`"`))
			})
		})
	}
}

func (o *ours) chain(group string, idempotent bool) ([]message.HandlerMiddleware, error) {
	poison, poisonErr := middleware.PoisonQueue(middleware.PoisonConfig{})
	retry, retryErr := middleware.Retry(middleware.RetryConfig{MaxAttempts: 3, InitialInterval: retryDelay})
	timeout, timeoutErr := middleware.Timeout(30 * time.Second)
	if err := errors.Join(poisonErr, retryErr, timeoutErr); err != nil {
		return nil, err
	}
	chain := []message.HandlerMiddleware{middleware.Tracing(middleware.TracingConfig{}), poison, retry, timeout, middleware.Recoverer()}
	if !idempotent {
		return chain, nil
	}
	store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: o.client})
	if err != nil {
		return nil, err
	}
	once, err := middleware.Idempotency(middleware.IdempotencyConfig{Store: store, Scope: o.topic + group})
	if err != nil {
		return nil, err
	}
	return append(chain, once), nil
}
