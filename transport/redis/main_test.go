package redis_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Watermill's suite leaves goroutines of its own multiplier behind.
	const multiplier = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe"
	goleak.VerifyTestMain(m,
		// go-redis's, after an outage; it ends within a second of its client.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		goleak.IgnoreAnyFunction(multiplier+".func2"),
		goleak.IgnoreAnyFunction(multiplier+".func3"))
}
