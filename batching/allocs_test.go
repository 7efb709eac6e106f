package batching_test

import (
	"testing"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	measure.Allocations(t,
		measure.Budget{Name: "a batch of 100, buffered", Most: 615, Op: fullBatch(t)},
		measure.Budget{Name: "a message that is waited for", Most: 8, Op: waitForOne(t)},
	)
}
