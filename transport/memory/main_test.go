package memory_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// Watermill's tests wait for a time to pass, nearly all the time.
		if err := f.Value.Set("12"); err != nil {
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
		goleak.IgnoreAnyFunction(multiplier+".func2"),
		goleak.IgnoreAnyFunction(multiplier+".func3"))
}
