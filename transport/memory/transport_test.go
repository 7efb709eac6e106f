package memory_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
	"github.com/logistically/events/transport/transporttest"
)

func TestTransport(t *testing.T) {
	const lease = 200 * time.Millisecond
	broker := memory.NewBroker(memory.BrokerConfig{})
	transporttest.Run(t, transporttest.Harness{
		Publisher: func(t *testing.T) message.Publisher {
			pub, err := memory.NewPublisher(broker)
			if err != nil {
				t.Fatal(err)
			}
			return pub
		},
		Subscriber: func(t *testing.T, group string) message.Subscriber {
			sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: group, Lease: lease})
			if err != nil {
				t.Fatal(err)
			}
			return sub
		},
		Crash: func(_ *testing.T, r transport.Receiver) { memory.Crash(r) },
		DeadLetters: func(_ *testing.T, topic string) []*message.Message {
			return broker.Messages(transport.DeadLetterTopic(topic))
		},
		Claims: func(t *testing.T) transporttest.ClaimStore {
			store, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{})
			if err != nil {
				t.Fatal(err)
			}
			return store
		},
		Lease: lease,
	})
}
