package report

import (
	"math"

	"gonum.org/v1/plot"

	"github.com/logistically/events/benchmarks/harness"
)

// axis puts numbers onto a line of a picture.
type axis struct {
	log       bool
	even      bool      // steps are evenly apart, whatever their numbers
	places    []float64 // of the steps; of the x axis only
	low, high float64
	ticks     []plot.Tick
}

// placesOf is the x axis of the steps of a series: logarithmic, or one place
// after the other when a step is zero, which has no logarithm.
func placesOf(steps []float64, label func(float64) string) axis {
	a := axis{log: true}
	for _, at := range steps {
		if at <= 0 {
			a.log, a.even = false, true
		}
	}
	for i, at := range steps {
		place := float64(i)
		if !a.even {
			place = math.Log10(at)
		}
		a.places = append(a.places, place)
		a.ticks = append(a.ticks, plot.Tick{Value: place, Label: label(at)})
	}
	a.low, a.high = a.places[0], a.places[len(a.places)-1]
	margin := max((a.high-a.low)*0.04, 0.05)
	a.low, a.high = a.low-margin, a.high+margin
	return a
}

// heightsOf is the y axis that holds all values: from zero, or logarithmic when
// they are wide apart or when log says so.
func heightsOf(entries []entry, unit harness.Unit, log bool) axis {
	lowest, highest := math.Inf(1), 0.0
	for _, e := range entries {
		for _, c := range e.curves {
			for _, v := range c.values {
				bottom := v.low
				if bottom <= 0 {
					bottom = v.median
				}
				lowest, highest = min(lowest, bottom), max(highest, v.high)
			}
		}
	}
	a := axis{log: log || highest > wide*lowest}
	if a.log {
		a.decades(lowest, highest, unit)
		return a
	}
	a.high = highest * 1.05
	for _, t := range (plot.DefaultTicks{}).Ticks(0, a.high) {
		if t.Label != "" {
			a.ticks = append(a.ticks, plot.Tick{Value: t.Value, Label: tick(t.Value, unit)})
		}
	}
	return a
}

// decades makes ticks at 1, 2 and 5 times the powers of ten, or at these alone
// where there are many.
func (a *axis) decades(lowest, highest float64, unit harness.Unit) {
	a.low, a.high = math.Log10(lowest)-0.08, math.Log10(highest)+0.08
	for e := math.Floor(a.low); e <= a.high; e++ {
		for _, m := range []float64{1, 2, 5} {
			at := e + math.Log10(m)
			if at < a.low || at > a.high || (m > 1 && a.high-a.low > 4) {
				continue
			}
			a.ticks = append(a.ticks, plot.Tick{Value: at, Label: tick(m*math.Pow(10, e), unit)})
		}
	}
}

// place is where a value lies. On a logarithmic axis the end stands for what is
// zero or less.
func (a axis) place(v float64) float64 {
	if !a.log {
		return v
	}
	if v <= 0 {
		return a.low
	}
	return math.Log10(v)
}

func (a axis) note() string {
	switch {
	case a.even:
		return " (steps evenly apart)"
	case a.log:
		return " (logarithmic)"
	}
	return ""
}
