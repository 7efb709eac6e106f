package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
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
	// SaveFailed keeps the buffered events that could not be sent before the end.
	SaveFailed func([]events.FailedMessage) error
	Logger     *slog.Logger
}

// Service creates and updates users as events ask for it, and publishes what
// follows from that.
//
// It has two publishers. What follows from an event must be stored before that
// event is acked, or a crash in between would lose it: handlers publish through
// batches that they wait for, and fail, to be run again, if one cannot be sent. A
// request for a user must not wait for an event that only counts it: such
// events are buffered. Those a crash loses; those that fail are kept and, at
// the end, saved.
type Service struct {
	cfg       ServiceConfig
	related   *batching.Publisher // waits
	views     *batching.Publisher // buffers
	publisher *events.Publisher   // over related
	viewer    *events.Publisher   // over views
	router    *router.Router
	metrics   Metrics

	mu    sync.Mutex
	users map[string]map[string]any
}

// NewService wires the service. Nothing is consumed before [Service.Run]. Close
// it in the end.
func NewService(cfg ServiceConfig) (*Service, error) {
	s := &Service{cfg: cfg, users: map[string]map[string]any{}}
	schemas, err := schemas()
	if err != nil {
		return nil, err
	}
	s.related, err = batching.NewPublisher(cfg.Publisher, batching.Config{
		Mode:                 batching.Wait, // A batch is what handlers published while the last one was under way.
		MaxSize:              100,
		MaxConcurrentBatches: 5,
		Strategy:             batching.ExactType,
		Logger:               cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	s.views, err = batching.NewPublisher(cfg.Publisher, batching.Config{
		Mode:     batching.Buffered,
		MaxSize:  100,
		MaxWait:  time.Second,
		Full:     batching.ErrorWhenFull, // No request waits for room.
		Strategy: batching.ByTopic,
		Logger:   cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	out := events.PublisherConfig{Origin: "user-service", Validator: schemas, Logger: cfg.Logger}
	if s.publisher, err = events.NewPublisher(s.related, out); err != nil {
		return nil, err
	}
	if s.viewer, err = events.NewPublisher(s.views, out); err != nil {
		return nil, err
	}
	s.router, err = router.New(router.Config{
		Subscriber: cfg.Subscriber,
		Topics:     []string{"user-events"},
		// Less than the 30 s between SIGTERM and SIGKILL, to have some left.
		DrainTimeout: 15 * time.Second,
		Logger:       cfg.Logger,
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
	// The context carries correlation, causation and trace on. If one of the two
	// fails the handler runs again and sends both: delivery is at least once.
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

// User returns what is known of a user.
func (s *Service) User(id string) (map[string]any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok := s.users[id]
	return maps.Clone(user), ok
}

// viewed publishes that somebody looked at a user, sooner or later.
func (s *Service) viewed(ctx context.Context, id string) {
	ctx = context.WithoutCancel(ctx) // The event outlives the request.
	if err := s.viewer.Publish(ctx, "profile.viewed", ProfileViewed{UserID: id, ViewedAt: time.Now().UTC()}); err != nil {
		s.cfg.Logger.Warn("a view is not counted", "user", id, "error", err)
	}
}

// Run consumes until ctx ends, and lets running handlers finish.
func (s *Service) Run(ctx context.Context) error { return s.router.Run(ctx) }

// Close sends what is buffered, and saves what cannot be sent before ctx ends.
// Call it when Run has returned and no requests are served any more.
func (s *Service) Close(ctx context.Context) error {
	err := errors.Join(s.related.Shutdown(ctx), s.views.Shutdown(ctx))
	if failed := s.views.FailedMessages(); len(failed) > 0 {
		s.cfg.Logger.Warn("saving events that could not be sent", "count", len(failed))
		err = errors.Join(err, s.cfg.SaveFailed(failed))
	}
	return err
}
