package contestants

import (
	"context"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/benchmarks/harness"
)

// drain handles the messages of a Watermill subscription with n goroutines until
// the subscription ends.
func drain(ctx context.Context, msgs <-chan *message.Message, n int, handle harness.Handler) error {
	var running sync.WaitGroup
	for range n {
		running.Go(func() {
			for msg := range msgs {
				if handle(ctx, msg.Payload) == nil {
					msg.Ack()
				} else {
					msg.Nack()
				}
			}
		})
	}
	running.Wait()
	return nil
}
