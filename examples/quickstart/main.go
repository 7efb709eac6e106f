// Quickstart publishes a few events and handles them: one at once, one after a
// retry, and one that no retry can mend, which ends in the dead letters.
//
// It needs no server. With REDIS_URL set (redis://localhost:6379/0) the same
// program runs on Redis Streams.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// UserCreated is the body of "user.created".
type UserCreated struct {
	UserID string `json:"userId"`
	Email  string `json:"email"`
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	open := onMemory
	if os.Getenv("REDIS_URL") != "" {
		open = onRedis
	}
	pub, sub, err := open()
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(ctx, pub, sub), pub.Close(), sub.Close()); err != nil {
		log.Fatal(err)
	}
}

// onMemory opens a transport that lives in this process.
func onMemory() (message.Publisher, message.Subscriber, error) {
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	if err != nil {
		return nil, nil, err
	}
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "quickstart"})
	return pub, sub, err
}

// onRedis opens a transport on the server that REDIS_URL names.
func onRedis() (message.Publisher, message.Subscriber, error) {
	opts, err := goredis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return nil, nil, err
	}
	client := goredis.NewClient(opts)
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	if err != nil {
		return nil, nil, err
	}
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "quickstart"})
	return pub, sub, err
}

func run(ctx context.Context, pub message.Publisher, sub message.Subscriber) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{}, 3) // one for each event, when nothing more will happen to it

	// Inbound: the router hands "user.created" to a typed handler. What fails
	// is retried; what fails for good goes to the dead letters.
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}})
	if err != nil {
		return err
	}
	poisonQueue, err := middleware.PoisonQueue(middleware.PoisonConfig{})
	if err != nil {
		return err
	}
	retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 3})
	if err != nil {
		return err
	}
	r.Use(poisonQueue, retry)
	busy := true
	err = router.Handle(r, "user.created", func(_ context.Context, ev events.Event[UserCreated]) error {
		switch {
		case ev.Body.UserID == "2" && busy:
			busy = false
			fmt.Println("to be retried:", ev.Type, ev.Body.UserID, "(the mail server is busy)")
			return errors.New("the mail server is busy")
		case ev.Body.UserID == "3":
			return events.Permanent(fmt.Errorf("%q is no e-mail address", ev.Body.Email))
		}
		fmt.Println("handled:", ev.Type, ev.Body.UserID)
		done <- struct{}{}
		return nil
	})
	if err != nil {
		return err
	}

	// Dead letters are a topic like any other; here, plain Watermill reads it.
	deadLetters, err := sub.Subscribe(ctx, transport.DeadLetterTopic("user-events"))
	if err != nil {
		return err
	}
	go func() {
		for msg := range deadLetters {
			fmt.Println("dead-lettered:", events.HeaderOf(msg).Type, string(msg.Payload), "because", msg.Metadata[transport.MetadataFailureReason])
			msg.Ack()
			done <- struct{}{}
		}
	}()

	// Outbound: a typed publisher over the transport.
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "quickstart"})
	if err != nil {
		return err
	}
	for _, user := range []UserCreated{{"1", "ada@example.com"}, {"2", "alan@example.com"}, {"3", "grace"}} {
		if err := publisher.Publish(ctx, "user.created", user); err != nil {
			return err
		}
		fmt.Println("published: user.created", user.UserID)
	}

	go func() {
		for range 3 {
			select {
			case <-done:
			case <-ctx.Done():
			}
		}
		stop() // All three are through: drain and return.
	}()
	if err := r.Run(ctx); err != nil {
		return err
	}
	s := r.Stats()
	fmt.Printf("done: 3 published, %d acked, %d dead-lettered\n", s.Acked, s.DeadLettered)
	return nil
}
