package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
)

// Group is the consumer group of this service.
const Group = "user-processors"

// ServiceConfig is what the service needs from outside.
type ServiceConfig struct {
	Publisher  message.Publisher
	Subscriber message.Subscriber
	// Store remembers which events were handled.
	Store middleware.IdempotencyStore
	// SaveFailed keeps the events that could not be sent before the end.
	SaveFailed func([]events.FailedMessage) error
	Logger     *slog.Logger
}

// Service creates and updates users as events ask for it, and publishes what
// follows from that.
type Service struct {
	cfg       ServiceConfig
	batches   *batching.Publisher
	publisher *events.Publisher
	router    *router.Router
	metrics   Metrics

	mu    sync.Mutex
	users map[string]map[string]any
}

// NewService wires the service. Nothing runs before [Service.Run].
func NewService(cfg ServiceConfig) (*Service, error) {
	s := &Service{cfg: cfg, users: map[string]map[string]any{}}
	schemas, err := schemas()
	if err != nil {
		return nil, err
	}
	s.batches, err = batching.NewPublisher(cfg.Publisher, batching.Config{
		Mode:                 batching.Buffered,
		MaxSize:              100,
		MaxWait:              time.Second,
		MaxConcurrentBatches: 5,
		Strategy:             batching.ExactType,
		Logger:               cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	s.publisher, err = events.NewPublisher(s.batches, events.PublisherConfig{
		Origin:    "user-service",
		Validator: schemas,
		Logger:    cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	s.router, err = router.New(router.Config{
		Subscriber: cfg.Subscriber,
		Topics:     []string{"user-events"},
		Logger:     cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	chain, err := s.chain(schemas)
	if err != nil {
		return nil, err
	}
	s.router.Use(chain...)
	return s, errors.Join(
		router.Handle(s.router, "user.created", s.userCreated),
		router.Handle(s.router, "user.updated", s.userUpdated),
	)
}

// chain is what every delivery passes through, outermost first.
func (s *Service) chain(schemas events.Validator) ([]message.HandlerMiddleware, error) {
	poisonQueue, err := middleware.PoisonQueue(middleware.PoisonConfig{})
	if err != nil {
		return nil, err
	}
	retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 3})
	if err != nil {
		return nil, err
	}
	validation, err := middleware.Validation(schemas, middleware.ValidationConfig{Logger: s.cfg.Logger})
	if err != nil {
		return nil, err
	}
	idempotency, err := middleware.Idempotency(middleware.IdempotencyConfig{Store: s.cfg.Store, Scope: Group})
	if err != nil {
		return nil, err
	}
	return []message.HandlerMiddleware{middleware.Tracing(middleware.TracingConfig{}), s.metrics.count, poisonQueue, retry, validation, idempotency}, nil
}

func (s *Service) userCreated(ctx context.Context, ev events.Event[UserCreated]) error {
	s.mu.Lock()
	s.users[ev.Body.UserID] = map[string]any{"name": ev.Body.Name, "email": ev.Body.Email}
	s.mu.Unlock()
	// The context carries correlation, causation and trace on.
	return errors.Join(
		s.publisher.Publish(ctx, "notification.sent", NotificationSent{UserID: ev.Body.UserID, Type: "welcome", Email: ev.Body.Email}),
		s.publisher.Publish(ctx, "audit.log", AuditLog{Action: "user_created", UserID: ev.Body.UserID, Actor: "system", Timestamp: time.Now().UTC()}),
	)
}

func (s *Service) userUpdated(ctx context.Context, ev events.Event[UserUpdated]) error {
	if err := s.update(ev.Body); err != nil {
		return err
	}
	return s.publisher.Publish(ctx, "audit.log", AuditLog{
		Action: "user_updated", UserID: ev.Body.UserID, Actor: ev.Body.UpdatedBy, Changes: ev.Body.Changes, Timestamp: ev.Body.UpdatedAt,
	})
}

// errUserNotFound is temporary: the event that creates the user may still be on
// its way. After the last attempt the update goes to the dead letters.
var errUserNotFound = errors.New("user not found")

func (s *Service) update(body UserUpdated) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok := s.users[body.UserID]
	if !ok {
		return fmt.Errorf("update user %s: %w", body.UserID, errUserNotFound)
	}
	maps.Copy(user, body.Changes)
	return nil
}

// Users returns the ids of all users, in order.
func (s *Service) Users() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.users))
}

// Run consumes until ctx ends, lets running handlers finish, sends what they
// published, and saves what could not be sent.
func (s *Service) Run(ctx context.Context) error {
	err := s.router.Run(ctx)
	err = errors.Join(err, s.batches.Close())
	if failed := s.batches.FailedMessages(); len(failed) > 0 {
		s.cfg.Logger.Warn("saving events that could not be sent", "count", len(failed))
		err = errors.Join(err, s.cfg.SaveFailed(failed))
	}
	return err
}
