package contestants

import (
	"context"
	"errors"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/redis"
	"github.com/logistically/events/validation"
)

// benchSchema is a small schema, of the kind that people write.
const benchSchema = `{"type":"object","required":["n","data"],"properties":{"n":{"type":"string","pattern":"^[0-9]+$"},"data":{}}}`

// byChain is the router with tracing (no provider), poison queue, retry and
// validation around the handler, and with idempotency on Redis if so asked.
func byChain(idempotent bool) consumer {
	return func(ctx context.Context, o *ours, group string, sub message.Subscriber, handle harness.Handler) error {
		return o.route(ctx, sub, func(r *router.Router) error {
			chain, err := o.chain(group, idempotent)
			if err != nil {
				return err
			}
			r.Use(chain...)
			return r.HandleMessage(eventType, func(msg *message.Message) error { return handle(msg.Context(), msg.Payload) })
		})
	}
}

func (o *ours) chain(group string, idempotent bool) ([]message.HandlerMiddleware, error) {
	schemas, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		return nil, err
	}
	poison, poisonErr := middleware.PoisonQueue(middleware.PoisonConfig{})
	retry, retryErr := middleware.Retry(middleware.RetryConfig{MaxAttempts: 3, InitialInterval: retryDelay})
	validate, validateErr := middleware.Validation(schemas, middleware.ValidationConfig{})
	if err := errors.Join(schemas.AddSchema(eventType, []byte(benchSchema)), poisonErr, retryErr, validateErr); err != nil {
		return nil, err
	}
	chain := []message.HandlerMiddleware{middleware.Tracing(middleware.TracingConfig{}), poison, retry, validate}
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
