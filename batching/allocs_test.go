package batching_test

import (
	"testing"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	measure.Allocations(t,
		measure.Budget{Name: "a batch of 100, buffered", Most: 106, Op: fullBatch(t)},
		measure.Budget{Name: "a message that is waited for", Most: 1, Op: waitForOne(t)},
	)
}
