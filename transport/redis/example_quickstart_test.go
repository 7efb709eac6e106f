package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/redis"
	"github.com/logistically/events/validation"
	goredis "github.com/redis/go-redis/v9"
)

type userCreated struct {
	UserID string `json:"userId"`
	Name   string `json:"name"`
	Email  string `json:"email" schema:"format=email"`
}

type userUpdated struct {
	UserID  string         `json:"userId"`
	Changes map[string]any `json:"changes"`
}

// A publisher that validates what it publishes.
func ExamplePublisher() {
	ctx := context.Background()
	client, stop := exampleClient(ctx) // goredis.NewClient(&goredis.Options{Addr: "localhost:6379"})
	defer stop()

	schemas, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		panic(err)
	}
	if err := validation.AddType[userCreated](schemas, "user.created"); err != nil {
		panic(err)
	}
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	if err != nil {
		panic(err)
	}
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "user-service", Validator: schemas})
	if err != nil {
		panic(err)
	}

	fmt.Println(publisher.Publish(ctx, "user.created", userCreated{UserID: "123", Name: "John Doe", Email: "john@example.com"}))
	fmt.Println(publisher.Publish(ctx, "user.created", userCreated{UserID: "124", Name: "Jane Doe", Email: "jane"}))
	fmt.Println(client.XLen(ctx, "user-events").Val(), "stored")
	// Output:
	// <nil>
	// events: publish refused: event "user.created" is not valid: at /email: 'jane' is not valid email: missing @ (format)
	// 1 stored
}

// A consumer of two types of events, which shares its group with other workers.
func ExampleSubscriber() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, stop := exampleClient(ctx)
	defer stop()
	if err := exampleUsers(ctx, client); err != nil {
		panic(err)
	}

	sub, err := redis.NewSubscriber(redis.SubscriberConfig{
		Client:   client,
		Group:    "user-processors",
		Consumer: "worker-1",  // by default host, process id and a random part
		Block:    time.Second, // how long one read waits
		Prefetch: 40,          // read ahead, in pages of up to a quarter of it
	})
	if err != nil {
		panic(err)
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}, Concurrency: 1})
	if err != nil {
		panic(err)
	}
	poisonQueue, err := middleware.PoisonQueue(middleware.PoisonConfig{}) // what fails for good
	if err != nil {
		panic(err)
	}
	retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 3})
	if err != nil {
		panic(err)
	}
	r.Use(poisonQueue, retry)
	err = errors.Join(
		router.Handle(r, "user.created", func(ctx context.Context, ev events.Event[userCreated]) error {
			fmt.Println("created:", ev.Body.Name, "with an id:", ev.ID != "", "and a hash:", ev.Hash != "")
			return nil
		}),
		router.Handle(r, "user.updated", func(ctx context.Context, ev events.Event[userUpdated]) error {
			fmt.Println("updated:", ev.Body.UserID, ev.Body.Changes)
			cancel() // A service ends by SIGTERM.
			return nil
		}),
	)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Run(ctx), sub.Close())
	// Output:
	// created: John Doe with an id: true and a hash: true
	// updated: 123 map[email:john@example.org]
	// <nil> <nil>
}

func exampleUsers(ctx context.Context, client *goredis.Client) error {
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	if err != nil {
		return err
	}
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "user-service"})
	if err != nil {
		return err
	}
	return errors.Join(
		publisher.Publish(ctx, "user.created", userCreated{UserID: "123", Name: "John Doe", Email: "john@example.com"}),
		publisher.Publish(ctx, "user.updated", userUpdated{UserID: "123", Changes: map[string]any{"email": "john@example.org"}}),
	)
}
