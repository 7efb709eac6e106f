package redis_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/logistically/events/internal/redisserver"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if version, err := redisserver.Version(context.Background()); err == nil {
		fmt.Println("tested on", version)
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// Most tests wait for a server, or for a time to pass, nearly all the time.
		if err := f.Value.Set("8"); err != nil {
			panic(err)
		}
	}
	// Watermill's stress form takes this many of its suites at once. Its own 10 do not
	// fit into its own time-outs on a small machine with the race detector.
	if os.Getenv("STRESS_TEST_COUNT") == "" {
		if err := os.Setenv("STRESS_TEST_COUNT", "2"); err != nil {
			panic(err)
		}
	}
	// Watermill's suite leaves goroutines of its own multiplier behind.
	const multiplier = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe"
	goleak.VerifyTestMain(m,
		// go-redis's, after an outage; it ends within a second of its client.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"),
		goleak.IgnoreAnyFunction(multiplier+".func2"),
		goleak.IgnoreAnyFunction(multiplier+".func3"))
}
