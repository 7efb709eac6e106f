package memory_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

// Topics change hands while messages are published and settled. If one was left to nobody,
// all would wait for ever, which synctest finds.
func TestNoTopicIsLeftUnreadWhileExclusiveReceiversShareThem(t *testing.T) {
	topics := transport.PartitionTopics("t", 4)
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			broker := memory.NewBroker(memory.BrokerConfig{})
			pub, err := memory.NewPublisher(broker)
			must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			var handled, running sync.WaitGroup
			handled.Add(6)
			for range 3 {
				sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g", Exclusive: true})
				must(t, err)
				r, err := sub.Receiver(topics...)
				must(t, err)
				running.Go(func() {
					for {
						page, err := r.Receive(ctx, 32)
						if err != nil {
							return
						}
						for _, d := range page {
							if err := r.Settle(ctx, d.Ack()); err != nil {
								t.Error(err)
							}
							handled.Done()
						}
					}
				})
			}
			for n := range 6 {
				must(t, pub.Publish(topics[n%2*2+1], message.NewMessage("", nil)))
			}
			handled.Wait()
			cancel()
			running.Wait()
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
