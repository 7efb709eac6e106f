package harness

import (
	"math"
	"slices"
)

// Counted returns the samples that count: none of a result that failed.
func (r Result) Counted() []Sample {
	if r.Error != "" || r.Skipped != "" {
		return nil
	}
	return r.Samples
}

// Ratios says how many times better a is than b, once for each round that both
// have: the ratio of their figures, turned round where less is better. Contestants
// take turns within a round, so the drift of the machine from round to round
// cancels. Rounds with a figure of zero have no ratio.
func Ratios(a, b Result, less bool) (all []float64) {
	others := make(map[int]float64)
	for _, s := range b.Counted() {
		others[s.Round] = s.Figure
	}
	for _, s := range a.Counted() {
		mine, other := s.Figure, others[s.Round]
		if mine <= 0 || other <= 0 {
			continue
		}
		if less {
			mine, other = other, mine
		}
		all = append(all, mine/other)
	}
	return all
}

// Median is the value in the middle, and the mean of the two in the middle of an
// even number. Of none it is NaN.
func Median(values []float64) float64 { return quantile(values, 0.5) }

// Quartiles are the values below which a quarter and three quarters are.
func Quartiles(values []float64) (lower, upper float64) {
	return quantile(values, 0.25), quantile(values, 0.75)
}

// quantile interpolates between the two nearest values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	below, part := math.Modf(q * float64(len(sorted)-1))
	i := int(below)
	if part == 0 {
		return sorted[i]
	}
	return sorted[i] + part*(sorted[i+1]-sorted[i])
}
