package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/logistically/events/benchmarks/harness"
)

// Difference is one ratio in two runs.
type Difference struct {
	Scenario   string
	Contestant string
	To         string // the scenario's Peer or Best
	// First and Second are the medians of Ratio, 0 in a run that has none.
	First, Second float64
	// Relative is how much the larger is above the smaller: 0.2 is 20 %, whichever
	// run comes first. It means nothing when a run has no ratio.
	Relative float64
	// Beyond says that Relative is more than the tolerance, or that only one of the
	// runs has the ratio.
	Beyond bool
}

// Compare compares the ratios of two runs to the peer and to the ceiling of each
// scenario, in the order of the scenarios. The tolerance is relative: 0.2 is
// 20 %. Ratios that neither run has are left out, and so are those of latencies of
// which one is saturated or unsteady: how long a queue grows says nothing that could
// agree. It refuses runs that are partial, and runs without a ratio, which would agree about
// nothing.
func Compare(first, second harness.Results, scenarios []harness.Scenario, units map[string]harness.Unit, tolerance float64) ([]Difference, error) {
	for i, r := range []harness.Results{first, second} {
		if r.Partial != "" {
			return nil, fmt.Errorf("report: compare: run %d is partial: %s", i+1, r.Partial)
		}
	}
	one, err := byKey(first)
	if err != nil {
		return nil, fmt.Errorf("compare: first run: %w", err)
	}
	two, err := byKey(second)
	if err != nil {
		return nil, fmt.Errorf("compare: second run: %w", err)
	}
	var found []Difference
	for _, s := range scenarios {
		unit, ok := units[s.Measure]
		if !ok {
			return nil, fmt.Errorf("report: compare: scenario %s: no unit for the measure %q", s.Name, s.Measure)
		}
		for _, name := range s.Contestants {
			for _, to := range s.References(name) {
				a, b := key{s.Name, name}, key{s.Name, to}
				if s.Load.Rate > 0 && slices.ContainsFunc([]harness.Result{one[a], one[b], two[a], two[b]}, func(r harness.Result) bool { return (row{result: r}).queues(s.Load.Rate) != "" }) {
					continue
				}
				before, after := ratios(one[a], one[b], unit.Less), ratios(two[a], two[b], unit.Less)
				if before.n == 0 && after.n == 0 {
					continue
				}
				found = append(found, difference(s.Name, name, to, before, after, tolerance))
			}
		}
	}
	if len(found) == 0 {
		return nil, errors.New("report: compare: the runs have no ratio")
	}
	return found, nil
}

func difference(scenario, contestant, to string, before, after spread, tolerance float64) Difference {
	d := Difference{Scenario: scenario, Contestant: contestant, To: to, First: before.median, Second: after.median}
	if before.n == 0 || after.n == 0 {
		d.Beyond = true
		return d
	}
	d.Relative = max(d.First, d.Second)/min(d.First, d.Second) - 1
	d.Beyond = d.Relative > tolerance
	return d
}

// WriteDifferences writes a table for a terminal, with a last line that says
// whether the runs agree within the tolerance that Compare was given.
func WriteDifferences(out io.Writer, differences []Difference, tolerance float64) error {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	lines := []string{"scenario\tcontestant\tto\tfirst\tsecond\tdifference"}
	beyond := 0
	for _, d := range differences {
		relative := fmt.Sprintf("%.1f %%", d.Relative*100)
		if d.First == 0 || d.Second == 0 {
			relative = "in one run only"
		}
		if d.Beyond {
			beyond++
			relative += ", BEYOND"
		}
		lines = append(lines, strings.Join([]string{d.Scenario, d.Contestant, d.To, ratioOrDash(d.First), ratioOrDash(d.Second), relative}, "\t"))
	}
	if _, err := io.WriteString(w, strings.Join(lines, "\n")+"\n"); err != nil {
		return fmt.Errorf("report: differences: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("report: differences: %w", err)
	}
	verdict := "the runs agree"
	if beyond > 0 {
		verdict = "the runs DISAGREE"
	}
	if _, err := fmt.Fprintf(out, "%s%d ratios, %d beyond %s %%: %s\n", text.String(), len(differences), beyond, significant(tolerance*100), verdict); err != nil {
		return fmt.Errorf("report: differences: %w", err)
	}
	return nil
}

func ratioOrDash(v float64) string {
	if v == 0 {
		return dash
	}
	return significant(v)
}
