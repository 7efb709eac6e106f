package main

import (
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware/middlewaretest"
)

func TestSkipTenantsKeepsTheContract(t *testing.T) {
	middlewaretest.Run(t, func() message.HandlerMiddleware {
		return SkipTenants(func(string) (bool, error) { return false, nil })
	})
}

func TestSkipTenantsDropsWhoHasLeft(t *testing.T) {
	down := errors.New("down")
	for tenant, want := range map[string]func(error) bool{
		"here":    func(err error) bool { return err == nil },
		"gone":    events.IsDiscard,
		"unknown": func(err error) bool { return errors.Is(err, down) && !events.IsDiscard(err) },
	} {
		runs := 0
		msg := message.NewMessage("1", nil)
		msg.Metadata["tenant"] = tenant
		_, err := SkipTenants(func(tenant string) (bool, error) {
			if tenant == "unknown" {
				return true, down
			}
			return tenant == "gone", nil
		})(func(*message.Message) ([]*message.Message, error) { runs++; return nil, nil })(msg)
		if !want(err) || (runs == 1) != (tenant == "here") {
			t.Errorf("%s: %v after %d runs", tenant, err, runs)
		}
	}
}

func Example() {
	main()
	// Output: the tenant has left true
}
