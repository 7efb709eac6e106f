package memory_test

import (
	"testing"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	measure.Allocations(t,
		measure.Budget{Name: "publish 1 message", Most: 9, Op: publish(t, 1)},
		measure.Budget{Name: "publish 100 messages in one call", Most: 702, Op: publish(t, 100)},
		measure.Budget{Name: "receive and ack a page of 100", Most: 1108, Op: receivePage(t, stocked(t, measure.Runs))},
	)
}
