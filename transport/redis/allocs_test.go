package redis_test

import (
	"testing"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	measure.Allocations(t,
		measure.Budget{Name: "Encode with six header fields", Most: 5, Op: encode(headed())},
		measure.Budget{Name: "Decode with six header fields", Most: 7, Op: decode(t, headed())},
	)
}

// The whole ways, go-redis's part included, against a real server.
func TestAllocationsOfPublishingAndReceivingStayWithinTheirBudget(t *testing.T) {
	f := newFixture(t)
	measure.Allocations(t,
		measure.Budget{Name: "publish one event with six header fields", Most: 19, Op: f.publishOne()},
		measure.Budget{Name: "publish 100 events in one call", Most: 1150, Op: f.publishHundred()},
	)
	// A receiver reads ahead: what it allocates must not count above.
	measure.Allocations(t, measure.Budget{Name: "receive, read the header of and ack 100 events", Most: 950, Op: f.consumeHundred()})
}
