package report

import (
	"slices"

	"github.com/logistically/events/benchmarks/harness"
)

// Ratio sums up harness.Ratios: median, lowest and highest. Not ok means that no
// round has one, as with a result that was skipped or failed.
func Ratio(a, b harness.Result, less bool) (median, low, high float64, ok bool) {
	s := ratios(a, b, less)
	return s.median, s.low, s.high, s.n > 0
}

func ratios(a, b harness.Result, less bool) spread { return spreadOf(harness.Ratios(a, b, less)) }

// spread sums up one number over the rounds.
type spread struct {
	median, low, high float64
	n                 int // of rounds; with 0 the others say nothing
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	return spread{median: harness.Median(values), low: slices.Min(values), high: slices.Max(values), n: len(values)}
}

// over sums up what of says about each sample that counts. A sample about which
// it says false is left out.
func over(r harness.Result, of func(harness.Sample) (float64, bool)) spread {
	var values []float64
	for _, s := range r.Counted() {
		if v, ok := of(s); ok {
			values = append(values, v)
		}
	}
	return spreadOf(values)
}

func figure(s harness.Sample) (float64, bool) { return s.Figure, true }

// clientCPU and serverCPU are seconds for a million messages.
func clientCPU(s harness.Sample) (float64, bool) { return perMillion(s, s.ClientCPU) }
func serverCPU(s harness.Sample) (float64, bool) { return perMillion(s, s.ServerCPU) }

// perMillion has nothing to say where processor time was not measured.
func perMillion(s harness.Sample, seconds float64) (float64, bool) {
	if s.Messages <= 0 || s.ClientCPU+s.ServerCPU <= 0 {
		return 0, false
	}
	return seconds * 1e6 / float64(s.Messages), true
}
