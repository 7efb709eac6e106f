package report

import "github.com/logistically/events/benchmarks/harness"

// achievedEnough is the share of the rate below which a latency is saturated.
const achievedEnough = 0.95

// steadyEnough is how far apart the quartiles of the medians of rounds may be. Where
// they are farther apart a queue built up in some rounds and not in others: the rate
// is about what the contestant can do.
const steadyEnough = 1.5

// milliseconds is the unit of all percentiles.
var milliseconds = harness.Unit{Name: "ms", Less: true}

func p50(l *harness.Latency) float64      { return l.P50 }
func p99(l *harness.Latency) float64      { return l.P99 }
func achieved(l *harness.Latency) float64 { return l.Achieved }

// percentiles are the columns of a table about latency.
var percentiles = []struct {
	name string
	of   func(*harness.Latency) float64
}{
	{"p50", p50},
	{"p90", func(l *harness.Latency) float64 { return l.P90 }},
	{"p99", p99},
	{"p99.9", func(l *harness.Latency) float64 { return l.P999 }},
	{"max", func(l *harness.Latency) float64 { return l.Max }},
}

// percentile sums up over the rounds that have a latency.
func (r row) percentile(of func(*harness.Latency) float64) spread {
	return over(r.result, func(s harness.Sample) (float64, bool) {
		if s.Latency == nil {
			return 0, false
		}
		return of(s.Latency), true
	})
}

// reached is the rate that went through, marked where it is too low.
func (r row) reached(rate int) string {
	s := r.percentile(achieved)
	if s.n == 0 {
		return dash
	}
	said := quantity(s.median, harness.Unit{Name: "messages/s"})
	if mark := r.queues(rate); mark != "" {
		said += " " + mark
	}
	return said
}

// queues says, in a word for the report, that messages were waiting for others;
// nothing if they were not. It is not asked where there is no rate.
func (r row) queues(rate int) string {
	s := r.percentile(achieved)
	if s.n == 0 || rate == 0 {
		return ""
	}
	if s.median < achievedEnough*float64(rate) {
		return "**saturated**"
	}
	var medians []float64
	for _, s := range r.result.Counted() {
		if s.Latency != nil {
			medians = append(medians, s.Latency.P50)
		}
	}
	if lower, upper := harness.Quartiles(medians); upper > steadyEnough*lower {
		return "**unsteady**"
	}
	return ""
}

// brief is a median in ms or µs.
func brief(s spread) string {
	if s.n == 0 {
		return dash
	}
	return quantity(s.median, milliseconds)
}
