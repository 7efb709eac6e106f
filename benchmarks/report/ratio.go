package report

import (
	"slices"

	"github.com/logistically/events/benchmarks/harness"
)

// Ratio says how many times better a is than b: the ratio of their figures,
// turned round where less is better. It is taken within each round that both
// have, then median, lowest and highest are returned: contestants take turns
// within a round, so the drift of the machine from round to round cancels. Rounds
// with a figure of zero have no ratio. Not ok means that no round has one, as
// with a result that was skipped or failed.
func Ratio(a, b harness.Result, less bool) (median, low, high float64, ok bool) {
	s := ratios(a, b, less)
	return s.median, s.low, s.high, s.n > 0
}

func ratios(a, b harness.Result, less bool) spread {
	others := make(map[int]float64)
	for _, s := range counted(b) {
		others[s.Round] = s.Figure
	}
	var found []float64
	for _, s := range counted(a) {
		mine, other := s.Figure, others[s.Round]
		if mine <= 0 || other <= 0 {
			continue
		}
		if less {
			mine, other = other, mine
		}
		found = append(found, mine/other)
	}
	return spreadOf(found)
}

// counted returns the samples that count: none of a result that failed.
func counted(r harness.Result) []harness.Sample {
	if r.Error != "" || r.Skipped != "" {
		return nil
	}
	return r.Samples
}

// spread sums up one number over the rounds.
type spread struct {
	median, low, high float64
	n                 int // of rounds; with 0 the others say nothing
}

// spreadOf uses the mean of the two in the middle when their number is even.
func spreadOf(values []float64) spread {
	n := len(values)
	if n == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return spread{
		median: (sorted[(n-1)/2] + sorted[n/2]) / 2,
		low:    sorted[0],
		high:   sorted[n-1],
		n:      n,
	}
}

// over sums up what of says about each sample that counts. A sample about which
// it says false is left out.
func over(r harness.Result, of func(harness.Sample) (float64, bool)) spread {
	var values []float64
	for _, s := range counted(r) {
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
