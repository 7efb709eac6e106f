// Custommiddleware is a middleware of one's own: it skips events of tenants that have
// left. Its test checks it against the contract that all middleware keeps.
package main

import (
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

var errLeft = errors.New("the tenant has left")

// SkipTenants drops events whose tenant has left. What left returns an error for is
// retried, as any failure.
func SkipTenants(left func(tenant string) (bool, error)) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			gone, err := left(msg.Metadata["tenant"])
			if err != nil {
				return nil, fmt.Errorf("look up tenant of %s: %w", msg.UUID, err)
			}
			if gone {
				return nil, events.Discard(errLeft)
			}
			return next(msg)
		}
	}
}

func main() {
	skip := SkipTenants(func(tenant string) (bool, error) { return tenant == "acme", nil })
	msg := message.NewMessage("1", nil)
	msg.Metadata["tenant"] = "acme"
	_, err := skip(func(*message.Message) ([]*message.Message, error) { return nil, nil })(msg)
	fmt.Println(err, events.IsDiscard(err))
}
