// Nodeinterop shares a stream and a consumer group with services that run the
// TypeScript library @logistically/events, version 2: it publishes an event that they
// can read, and handles those that they publish, until it is interrupted. Its README
// says how to run both.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// group is the one that the TypeScript consumers are in as well.
const group = "user-processors"

// format is how all services write. A Go service reads both formats; one of the
// TypeScript library would put an entry of Watermill's into its dead letters.
var format = redis.EnvelopeFormat{Version: 2}

// UserCreated is the body of "user.created".
type UserCreated struct {
	UserID string `json:"userId"`
	Name   string `json:"name,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	opts, err := goredis.ParseURL(cmp.Or(os.Getenv("REDIS_URL"), "redis://localhost:6379/0"))
	if err != nil {
		log.Fatal(err)
	}
	client := goredis.NewClient(opts)
	err = publish(ctx, client, UserCreated{UserID: "1", Name: "Ada"})
	if err == nil {
		err = consume(ctx, client, func(ev events.Event[UserCreated]) error {
			fmt.Println("handled:", ev.Type, "of", ev.Origin, ev.Body.UserID)
			return nil
		})
	}
	if err := errors.Join(err, client.Close()); err != nil {
		log.Fatal(err)
	}
}

// publish writes events as the TypeScript library would: to the stream user-events, as
// go-service.user.created.
func publish(ctx context.Context, client *goredis.Client, users ...UserCreated) error {
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client, Format: format})
	if err != nil {
		return err
	}
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "go-service", Topic: format.Topic})
	if err != nil {
		return err
	}
	for _, user := range users {
		if err := publisher.Publish(ctx, "user.created", user); err != nil {
			return err
		}
	}
	return pub.Close()
}

// consume handles events of both kinds of services as a member of the group, until ctx ends.
func consume(ctx context.Context, client *goredis.Client, handle func(events.Event[UserCreated]) error) error {
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{
		Client: client, Group: group,
		// What a TypeScript consumer has not acknowledged for that long is taken over: it
		// must be longer than its slowest handler takes.
		Lease: time.Minute,
		// Read few ahead, so that the other consumers get their share.
		Prefetch: 10,
		// The name that the TypeScript services give to their dead letters.
		DeadLetterTopic: func(topic string) string { return topic + "-dlq" },
	})
	if err != nil {
		return err
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{format.Topic("user.created")}})
	if err != nil {
		return err
	}
	err = router.Handle(r, "user.created", func(_ context.Context, ev events.Event[UserCreated]) error { return handle(ev) })
	if err != nil {
		return err
	}
	return errors.Join(r.Run(ctx), sub.Close())
}
