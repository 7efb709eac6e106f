package redis_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// exampleClient returns a client of a server of the example's own.
func exampleClient(ctx context.Context) (client *goredis.Client, stop func()) {
	server, err := redisserver.Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	client = goredis.NewClient(&goredis.Options{Addr: server.Addr})
	return client, func() {
		if err := client.Close(); err != nil {
			log.Print(err)
		}
		if err := server.Close(); err != nil {
			log.Print(err)
		}
	}
}

func examplePublish(client goredis.UniversalClient, topic string, n int) {
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	if err != nil {
		log.Fatal(err)
	}
	for i := range n {
		if err := pub.Publish(topic, message.NewMessage(fmt.Sprint(i), []byte("{}"))); err != nil {
			log.Fatal(err)
		}
	}
}

// A topic keeps its last hundred entries, and whatever the group has not settled.
func ExampleTrimmer() {
	ctx := context.Background()
	client, stop := exampleClient(ctx)
	defer stop()
	examplePublish(client, "user-events", 150)
	trimmer, err := redis.NewTrimmer(redis.TrimmerConfig{
		Client: client,
		Topics: []string{"user-events"},
		Groups: []string{"mailer"},
		MaxLen: 100,
	})
	if err != nil {
		log.Fatal(err)
	}
	trim := func() {
		reports, err := trimmer.Trim(ctx) // A service has trimmer.Run(ctx) instead.
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range reports {
			fmt.Printf("%s: %d removed, %d left, held by %q\n", r.Topic, r.Removed, r.Length, r.HeldBy)
		}
	}

	trim() // The mailer was never there.
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "mailer", Block: 100 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	receiver, err := sub.Receiver("user-events")
	if err != nil {
		log.Fatal(err)
	}
	for settled := 0; settled < 20; {
		page, err := receiver.Receive(ctx, 20-settled)
		if err != nil {
			log.Fatal(err)
		}
		for _, d := range page {
			if err := receiver.Settle(ctx, d.Ack()); err != nil {
				log.Fatal(err)
			}
			settled++
		}
	}
	trim() // It has settled twenty.
	if err := receiver.Close(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// user-events: 0 removed, 150 left, held by "mailer"
	// user-events: 20 removed, 130 left, held by "mailer"
}

func ExampleInspector() {
	ctx := context.Background()
	client, stop := exampleClient(ctx)
	defer stop()
	examplePublish(client, "user-events", 3)
	if err := client.XGroupCreate(ctx, "user-events", "mailer", "0").Err(); err != nil {
		log.Fatal(err)
	}
	if err := client.XReadGroup(ctx, &goredis.XReadGroupArgs{Group: "mailer", Consumer: "mailer-1", Streams: []string{"user-events", ">"}, Count: 1}).Err(); err != nil {
		log.Fatal(err)
	}

	inspector, err := redis.NewInspector(redis.InspectorConfig{Client: client})
	if err != nil {
		log.Fatal(err)
	}
	topic, err := inspector.Topic(ctx, "user-events")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(topic.Topic, "has", topic.Length, "entries and", topic.DeadLetters, "dead letters")
	for _, g := range topic.Groups {
		fmt.Println(g.Name, "has", g.Lag, "unread and", g.Pending, "pending, the oldest with", g.Oldest.Consumer)
	}
	_, err = inspector.Topic(ctx, "invoice-events")
	fmt.Println(err)
	// Output:
	// user-events has 3 entries and 0 dead letters
	// mailer has 2 unread and 1 pending, the oldest with mailer-1
	// redis: inspect "invoice-events": no such topic
}

// The group begins with what was stored in the last hour.
func ExampleStartAt() {
	now := time.UnixMilli(1_700_000_000_000)
	cfg := redis.SubscriberConfig{Group: "mailer", Start: redis.StartAt(now.Add(-time.Hour))}
	fmt.Println(cfg.Start)
	// Output: 1699996399999-18446744073709551615
}

// Two processes share a rate.
func ExampleLimiter() {
	ctx := context.Background()
	client, stop := exampleClient(ctx)
	defer stop()
	for process := range 2 {
		limiter, err := redis.NewLimiter(redis.LimiterConfig{Client: client, Rate: 0.1, Burst: 3})
		if err != nil {
			log.Fatal(err)
		}
		for range 2 {
			wait, ok, err := limiter.Take(ctx, "mail service", 0)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println("process", process, "has a turn:", ok, "after", wait.Round(10*time.Second))
		}
		if err := limiter.Close(); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// process 0 has a turn: true after 0s
	// process 0 has a turn: true after 0s
	// process 1 has a turn: true after 0s
	// process 1 has a turn: false after 10s
}
