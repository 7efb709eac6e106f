package harness

import "math"

// another says who takes part in a round of a pass; nil is that there is none any
// more.
func (r Run) another(sc Scenario, results []Result, round int) func(contestant string) bool {
	least, most := r.Rounds, max(r.Rounds, r.Most)
	if sc.Rounds > 0 {
		least, most = sc.Rounds, sc.Rounds
	}
	if round <= least {
		return func(string) bool { return true }
	}
	who := unsettled(sc, results, Measures[sc.Measure].Unit.Less)
	if round > most || len(who) == 0 {
		return nil
	}
	return func(name string) bool { return who[name] }
}

// precision is how well a ratio shall be known: half of its notch, relative to the
// median. Two runs that both know a ratio so well hardly ever differ by a fifth in it.
const precision = 0.07

// settled says that more rounds would hardly move the median. The notch of a box
// plot is a 95 % interval for comparing two medians, median ± 1.57 IQR/√n
// (McGill, Tukey and Larsen, "Variations of Box Plots", 1978).
func settled(values []float64) bool {
	lower, upper := Quartiles(values)
	return 1.57*(upper-lower)/math.Sqrt(float64(len(values))) <= precision*Median(values)
}

// unsettled are the contestants that need another round: those with a ratio that
// is not settled, and those that it refers to.
func unsettled(sc Scenario, results []Result, less bool) map[string]bool {
	of := make(map[string]Result, len(results))
	for _, r := range results {
		of[r.Contestant] = r
	}
	wanted := make(map[string]bool)
	for _, name := range sc.Contestants {
		for _, to := range sc.References(name) {
			if all := Ratios(of[name], of[to], less); len(all) > 0 && !settled(all) {
				wanted[name], wanted[to] = true, true
			}
		}
	}
	return wanted
}
