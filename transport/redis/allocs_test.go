package redis_test

import (
	"testing"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	measure.Allocations(t,
		measure.Budget{Name: "Encode with six header fields", Most: 5, Op: encode(headed())},
		measure.Budget{Name: "Decode with six header fields", Most: 6, Op: decode(t, headed())},
	)
}
