package middleware_test

import (
	"testing"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	most := map[string]int{"none": 0, "tracing": 15, "poison-queue": 0, "retry": 0, "validation": 0, "idempotency": 14, "all": 29}
	var budgets []measure.Budget
	for _, l := range layers(t) {
		budgets = append(budgets, measure.Budget{Name: l.name, Most: most[l.name], Op: warm(t, around(l.chain))})
	}
	measure.Allocations(t, budgets...)
}
