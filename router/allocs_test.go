package router

import (
	"testing"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	measure.Allocations(t,
		measure.Budget{Name: "find an exact handler", Most: 0, Op: find(t, ofServices(1000, "entity.created"), cycle(1000), true)},
		measure.Budget{Name: "find a pattern's handler", Most: 0, Op: find(t, ofServices(1000, "*.created"), cycle(1000), true)},
		measure.Budget{Name: "deliver", Most: 1, Op: deliverThrough(t, 0, nil)},
		measure.Budget{Name: "deliver through 5 middlewares", Most: 2, Op: deliverThrough(t, 5, nil)},
		measure.Budget{Name: "deliver in the order of keys", Most: 2, Op: deliverThrough(t, 0, byType)},
		measure.Budget{Name: "Table.Publish of 1 message", Most: 6, Op: publishThrough(t, 1)},
		measure.Budget{Name: "Table.Publish of 100 messages", Most: 82, Op: publishThrough(t, 100)},
		measure.Budget{Name: "Table.Publish by one of 1000 routes", Most: 6, Op: routeOne(t, 1000, cycle(1000))},
	)
}
