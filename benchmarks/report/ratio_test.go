package report_test

import (
	"testing"

	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/benchmarks/report"
)

// result has the figures as its rounds, from 1.
func result(scenario, contestant string, figures ...float64) harness.Result {
	r := harness.Result{Scenario: scenario, Contestant: contestant}
	for i, f := range figures {
		r.Samples = append(r.Samples, harness.Sample{Round: i + 1, Messages: 1000, Seconds: 1, Figure: f})
	}
	return r
}

func TestRatio(t *testing.T) {
	failed, skipped := result("s", "b", 10), result("s", "b", 10)
	failed.Error, skipped.Skipped = "lost a message", "cannot"
	late := result("s", "b", 1, 5)
	late.Samples[0].Round, late.Samples[1].Round = 2, 3
	for name, c := range map[string]struct {
		a, b              harness.Result
		less              bool
		median, low, high float64
		ok                bool
	}{
		"round by round":         {a: result("s", "a", 10, 40, 90), b: result("s", "b", 10, 20, 30), median: 2, low: 1, high: 3, ok: true},
		"less is better":         {a: result("s", "a", 10, 10, 10), b: result("s", "b", 10, 20, 5), less: true, median: 1, low: 0.5, high: 2, ok: true},
		"even number of rounds":  {a: result("s", "a", 1, 3), b: result("s", "b", 1, 1), median: 2, low: 1, high: 3, ok: true},
		"rounds that both have":  {a: result("s", "a", 7, 2, 20), b: late, median: 3, low: 2, high: 4, ok: true},
		"drift cancels":          {a: result("s", "a", 100, 50), b: result("s", "b", 50, 25), median: 2, low: 2, high: 2, ok: true},
		"zero has no ratio":      {a: result("s", "a", 0, 4), b: result("s", "b", 1, 2), median: 2, low: 2, high: 2, ok: true},
		"only zeros":             {a: result("s", "a", 4), b: result("s", "b", 0)},
		"no samples":             {a: result("s", "a"), b: result("s", "b", 1)},
		"failed samples are out": {a: result("s", "a", 10), b: failed},
		"skipped":                {a: result("s", "a", 10), b: skipped},
	} {
		median, low, high, ok := report.Ratio(c.a, c.b, c.less)
		if median != c.median || low != c.low || high != c.high || ok != c.ok {
			t.Errorf("%s: %v [%v, %v] %v, want %v [%v, %v] %v", name, median, low, high, ok, c.median, c.low, c.high, c.ok)
		}
	}
}
