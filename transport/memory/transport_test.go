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
	subscribe := func(cfg memory.SubscriberConfig) func(*testing.T, string) message.Subscriber {
		return func(t *testing.T, group string) message.Subscriber {
			cfg := cfg
			cfg.Group, cfg.Lease = group, lease
			sub, err := memory.NewSubscriber(broker, cfg)
			if err != nil {
				t.Fatal(err)
			}
			return sub
		}
	}
	h := transporttest.Harness{
		Publisher: func(t *testing.T) message.Publisher {
			pub, err := memory.NewPublisher(broker)
			if err != nil {
				t.Fatal(err)
			}
			return pub
		},
		Subscriber: subscribe(memory.SubscriberConfig{}),
		Exclusive:  subscribe(memory.SubscriberConfig{Exclusive: true}),
		Crash:      func(_ *testing.T, r transport.Receiver) { memory.Crash(r) },
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
	}
	transporttest.Run(t, h)
	t.Run("OfExclusiveSubscribers", func(t *testing.T) {
		h.Subscriber, h.Exclusive = h.Exclusive, nil
		transporttest.Run(t, h)
	})
}
