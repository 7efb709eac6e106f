package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// A hundred messages take one entry, and are delivered and settled one by one.
func ExamplePackConfig() {
	ctx := context.Background()
	client, stop := exampleClient(ctx)
	defer stop()
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client, Pack: &redis.PackConfig{MaxMessages: 100}})
	if err != nil {
		log.Fatal(err)
	}
	msgs := make([]*message.Message, 100)
	for i := range msgs {
		msgs[i] = message.NewMessage(fmt.Sprintf("reading-%d", i), []byte(`{"celsius":21.5}`))
	}
	if err := pub.Publish("readings", msgs...); err != nil {
		log.Fatal(err)
	}

	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "dashboard"})
	if err != nil {
		log.Fatal(err)
	}
	receiver, err := sub.Receiver("readings")
	if err != nil {
		log.Fatal(err)
	}
	var outcomes []transport.Outcome
	for len(outcomes) < len(msgs) {
		page, err := receiver.Receive(ctx, 100)
		if err != nil {
			log.Fatal(err)
		}
		for _, d := range page {
			if d.Message.UUID == "reading-7" {
				outcomes = append(outcomes, d.DeadLetter(errors.New("the sensor is broken")))
			} else {
				outcomes = append(outcomes, d.Ack())
			}
		}
	}
	if err := errors.Join(receiver.Settle(ctx, outcomes...), receiver.Close(), sub.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("messages delivered:", len(outcomes))
	fmt.Println("entries:", client.XLen(ctx, "readings").Val())
	fmt.Println("dead letters:", client.XLen(ctx, transport.DeadLetterTopic("readings")).Val())
	fmt.Println("pending:", client.XPending(ctx, "readings", "dashboard").Val().Count)
	// Output:
	// messages delivered: 100
	// entries: 1
	// dead letters: 1
	// pending: 0
}
