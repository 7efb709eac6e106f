package report

import (
	"math"
	"strconv"
	"strings"

	"github.com/logistically/events/benchmarks/harness"
)

// digits is how many significant digits people get: rounds differ by more than that.
const digits = 3

// dash stands where there is no number.
const dash = "–"

// scale is a unit for people: figures from one size on are divided by factor.
type scale struct {
	from, factor float64
	suffix       string
}

var (
	counts    = []scale{{0, 1, ""}, {1e3, 1e3, " k"}, {1e6, 1e6, " M"}, {1e9, 1e9, " G"}}
	durations = []scale{{0, 1, " ns"}, {1e3, 1e3, " µs"}, {1e6, 1e6, " ms"}, {1e9, 1e9, " s"}}
	sizes     = []scale{{0, 1, " B"}, {1 << 10, 1 << 10, " KiB"}, {1 << 20, 1 << 20, " MiB"}, {1 << 30, 1 << 30, " GiB"}}
)

// scaleOf chooses how to show figures of about v in the unit. Words that follow
// the first of a unit's name stay: "bytes/message" becomes "KiB/message".
func scaleOf(v float64, unit harness.Unit) scale {
	first, rest := unit.Name, ""
	if i := strings.IndexAny(first, " /"); i >= 0 {
		first, rest = first[:i], first[i:]
	}
	of := func(scales []scale, base float64, rest string) scale {
		best := scales[0]
		for _, s := range scales[1:] {
			if max(v, rounded(v))*base >= s.from {
				best = s
			}
		}
		return scale{factor: best.factor / base, suffix: best.suffix + rest}
	}
	switch first {
	case "ns":
		return of(durations, 1, rest)
	case "µs", "us":
		return of(durations, 1e3, rest)
	case "ms":
		return of(durations, 1e6, rest)
	case "s", "seconds":
		return of(durations, 1e9, rest)
	case "bytes", "B":
		return of(sizes, 1, rest)
	case "KiB":
		return of(sizes, 1<<10, rest)
	case "MiB":
		return of(sizes, 1<<20, rest)
	}
	if rest == "/s" { // of what is plain from the heading
		return of(counts, 1, rest)
	}
	return of(counts, 1, " "+unit.Name)
}

// quantity is a figure with its unit: "12.3 k/s".
func quantity(v float64, unit harness.Unit) string {
	s := scaleOf(v, unit)
	return significant(v/s.factor) + s.suffix
}

// ranged is the median with lowest and highest in the same unit:
// "12.3 [11.9–12.8] k/s".
func ranged(s spread, unit harness.Unit) string {
	if s.n == 0 {
		return dash
	}
	by := scaleOf(s.median, unit)
	return between(spread{s.median / by.factor, s.low / by.factor, s.high / by.factor, s.n}) + by.suffix
}

// between is a spread without a unit, as ratios are shown.
func between(s spread) string {
	if s.n == 0 {
		return dash
	}
	return significant(s.median) + " [" + significant(s.low) + "–" + significant(s.high) + "]"
}

// tick is a quantity as an axis shows it, without zeros at its end.
func tick(v float64, unit harness.Unit) string {
	s := scaleOf(v, unit)
	return strconv.FormatFloat(rounded(v/s.factor), 'f', -1, 64) + s.suffix
}

// whole is a number that somebody has chosen, such as a batch size.
func whole(v float64) string {
	switch {
	case v >= 1e6 && math.Mod(v, 1e5) == 0:
		return strconv.FormatFloat(v/1e6, 'f', -1, 64) + " M"
	case v >= 1e4 && math.Mod(v, 100) == 0:
		return strconv.FormatFloat(v/1e3, 'f', -1, 64) + " k"
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

func significant(v float64) string {
	v = rounded(v)
	if v == 0 {
		return "0"
	}
	return strconv.FormatFloat(v, 'f', max(0, digits-1-exponent(v)), 64)
}

// rounded keeps the significant digits.
func rounded(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	places := digits - 1 - exponent(v)
	if places < 0 {
		unit := math.Pow10(-places)
		return math.Round(v/unit) * unit
	}
	unit := math.Pow10(places)
	return math.Round(v*unit) / unit
}

// exponent is the power of ten of a number's first digit.
func exponent(v float64) int { return int(math.Floor(math.Log10(math.Abs(v)))) }
