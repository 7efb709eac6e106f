package memory_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Watermill's stress form takes this many of its suites at once. Its own 10 do not
	// fit into its own time-outs on a small machine with the race detector.
	if os.Getenv("STRESS_TEST_COUNT") == "" {
		if err := os.Setenv("STRESS_TEST_COUNT", "3"); err != nil {
			panic(err)
		}
	}
	// Watermill's suite leaves goroutines of its own multiplier behind.
	const multiplier = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(multiplier+".func2"),
		goleak.IgnoreAnyFunction(multiplier+".func3"))
}
