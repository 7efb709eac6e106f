package middleware_test

import (
	"testing"
	"time"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	most := map[string]int{"none": 0, "tracing": 2, "poison-queue": 0, "retry": 0, "nothing": 0, "recoverer": 0, "correlation": 0, "timeout": 1, "circuit-breaker": 2, "chain": 3, "metrics": 0, "logging": 0, "rate-limit": 0, "validation": 0, "idempotency": 14, "all": 16}
	var budgets []measure.Budget
	for _, l := range layers(t) {
		budgets = append(budgets, measure.Budget{Name: l.name, Most: most[l.name], Op: warm(t, around(l.chain))})
	}
	measure.Allocations(t, budgets...)
}

// The bound is far from what is measured (a few nanoseconds), so that a busy machine or
// the race detector does not matter: the best of many rounds counts.
func TestAMiddlewareThatDoesNothingCostsUnder100ns(t *testing.T) {
	const rounds, calls, limit = 500, 1000, 100 * time.Nanosecond
	ops := map[string]measure.Operation{}
	for _, l := range layers(t) {
		ops[l.name] = around(l.chain)
	}
	best := map[string]time.Duration{}
	for range rounds {
		for _, name := range []string{"none", "nothing"} {
			begun := time.Now()
			for range calls {
				must(t, ops[name]())
			}
			if took := time.Since(begun) / calls; best[name] == 0 || took < best[name] {
				best[name] = took
			}
		}
		if cost := best["nothing"] - best["none"]; cost < limit {
			t.Logf("it costs %v", cost)
			return
		}
	}
	t.Errorf("it costs %v", best["nothing"]-best["none"])
}
