// Quickstart publishes a few events and handles them: one at once, one after a
// retry, and one that no retry can mend, which ends in the dead letters.
//
// It needs no server. With EVENTS_URL=redis://localhost:6379/0 the same program
// runs on Redis Streams.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/uuid"
	"github.com/logistically/events"
	"github.com/logistically/events/config"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
)

// UserCreated is the body of "user.created".
type UserCreated struct {
	UserID string `json:"userId"`
	Email  string `json:"email"`
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	t, err := open(config.URL(cmp.Or(os.Getenv("EVENTS_URL"), "memory://")))
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(ctx, t.Publisher, t.Subscriber), t.Close()); err != nil {
		log.Fatal(err)
	}
}

// open opens the transport that a URL names.
func open(url config.URL) (*config.Transport, error) {
	settings := config.Settings{URL: url}
	settings.Subscriber.Group = "quickstart"
	return settings.Open()
}

// run publishes three events and handles events until it has seen the end of
// those three. What an earlier run has left behind is handled along the way.
func run(ctx context.Context, pub message.Publisher, sub message.Subscriber) error {
	running, stop := context.WithCancel(ctx)
	defer stop()

	// Each event's way ends in a handler that returns nil, or in the dead letters.
	origin := "quickstart-" + uuid.NewString() // tells our events from an earlier run's
	done := make(chan string)
	through := func(h events.Header) {
		if h.Origin != origin {
			return
		}
		select {
		case done <- h.ID:
		case <-running.Done():
		}
	}

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
	var wasBusy atomic.Bool // Handlers run at the same time.
	err = router.Handle(r, "user.created", func(_ context.Context, ev events.Event[UserCreated]) error {
		switch {
		case ev.Body.UserID == "2" && ev.Origin == origin && !wasBusy.Swap(true):
			fmt.Println("to be retried:", ev.Type, ev.Body.UserID, "(the mail server is busy)")
			return errors.New("the mail server is busy")
		case ev.Body.UserID == "3":
			return events.Permanent(fmt.Errorf("%q is no e-mail address", ev.Body.Email))
		}
		fmt.Println("handled:", ev.Type, ev.Body.UserID)
		through(ev.Header)
		return nil
	})
	if err != nil {
		return err
	}

	// Dead letters are a topic like any other; here, plain Watermill reads it.
	deadLetters, err := sub.Subscribe(running, transport.DeadLetterTopic("user-events"))
	if err != nil {
		return err
	}
	go func() {
		for msg := range deadLetters {
			fmt.Println("dead-lettered:", events.HeaderOf(msg).Type, string(msg.Payload), "because", msg.Metadata[transport.MetadataFailureReason])
			msg.Ack()
			through(events.HeaderOf(msg))
		}
	}()

	// Outbound: a typed publisher over the transport.
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: origin})
	if err != nil {
		return err
	}
	users := []UserCreated{{"1", "ada@example.com"}, {"2", "alan@example.com"}, {"3", "grace"}}
	for _, user := range users {
		if err := publisher.Publish(ctx, "user.created", user); err != nil {
			return err
		}
		fmt.Println("published: user.created", user.UserID)
	}

	go func() {
		defer stop()             // All are through: drain and return.
		ids := map[string]bool{} // A set, because delivery is at least once.
		for len(ids) < len(users) {
			select {
			case id := <-done:
				ids[id] = true
			case <-running.Done():
				return
			}
		}
	}()
	if err := r.Run(running); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("not all events are through: %w", context.Cause(ctx))
	}
	s := r.Stats()
	fmt.Printf("done: %d published, %d acked, %d dead-lettered\n", len(users), s.Acked, s.DeadLettered)
	return nil
}
