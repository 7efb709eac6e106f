package report_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/benchmarks/report"
)

// run is of the scenario publish-single: the peer at 100, the ceiling at 200.
func run(ours ...float64) harness.Results {
	return harness.Results{Results: []harness.Result{
		result("publish-single", router, ours...),
		result("publish-single", watermill, 100, 100),
		result("publish-single", pipeline, 200, 200),
	}}
}

func TestRunsThatAgree(t *testing.T) {
	differences, err := report.Compare(run(100, 100), run(119, 119), scenarios(), units, 0.2)
	if err != nil {
		t.Fatal(err)
	}
	// Ours to both, the peer to the ceiling, the ceiling to the peer.
	if len(differences) != 4 {
		t.Fatalf("%d differences: %+v", len(differences), differences)
	}
	d := differences[0]
	if d.Contestant != router || d.To != watermill || d.First != 1 || d.Second != 1.19 || d.Beyond {
		t.Errorf("%+v", d)
	}
	if text := render(t, differences); !strings.HasSuffix(text, "\n4 ratios, 0 beyond 20.0 %: the runs agree\n") {
		t.Error(text)
	}
}

func TestRunsThatDisagree(t *testing.T) {
	lost := run(100, 100)
	lost.Results[0].Error = "lost a message"
	for name, runs := range map[string][2]harness.Results{
		"faster":          {run(100, 100), run(121, 121)},
		"slower":          {run(121, 121), run(100, 100)},
		"in one run only": {run(100, 100), lost},
	} {
		differences, err := report.Compare(runs[0], runs[1], scenarios(), units, 0.2)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range differences {
			if d.Beyond != (d.Contestant == router) {
				t.Errorf("%s: %+v", name, d)
			}
		}
		if text := render(t, differences); strings.Count(text, "BEYOND") != 2 || !strings.HasSuffix(text, "4 ratios, 2 beyond 20.0 %: the runs DISAGREE\n") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestLatenciesOfQueuesAreNotCompared(t *testing.T) {
	latencies := func(achieved float64, peer ...float64) (r harness.Results) {
		for _, name := range []string{router, watermill} {
			p50 := slices.Repeat([]float64{3}, len(peer))
			if name == watermill {
				p50 = peer
			}
			one := result("latency-5000", name, p50...)
			for i := range one.Samples {
				one.Samples[i].Latency = &harness.Latency{Achieved: 5000, P50: p50[i]}
				if name == watermill {
					one.Samples[i].Latency.Achieved = achieved
				}
			}
			r.Results = append(r.Results, one)
		}
		return r
	}
	steady := latencies(5000, 5, 5, 5, 5)
	for name, c := range map[string]struct {
		second harness.Results
		ratios int
	}{
		"keeps up":         {latencies(4900, 5, 5, 5, 5), 1},
		"saturated":        {latencies(4000, 5, 5, 5, 5), 0},
		"differs once":     {latencies(5000, 5, 5, 5, 5, 5, 5, 50), 1},
		"differs, a queue": {latencies(5000, 5, 5, 5, 5, 20, 20, 50), 0},
	} {
		found, err := report.Compare(steady, c.second, scenarios(), units, 0.2)
		if len(found) != c.ratios || (err == nil) != (c.ratios > 0) {
			t.Errorf("%s in one run: %+v, %v", name, found, err)
		}
	}
}

func TestCompareRefuses(t *testing.T) {
	partial := run(100)
	partial.Partial = "interrupted"
	twice := run(100)
	twice.Results = append(twice.Results, twice.Results...)
	for name, c := range map[string]struct {
		first, second harness.Results
		units         map[string]harness.Unit
		want          string
	}{
		"first is partial":  {partial, run(100), units, "run 1 is partial: interrupted"},
		"second is partial": {run(100), partial, units, "run 2 is partial: interrupted"},
		"nothing in common": {harness.Results{}, harness.Results{}, units, "no ratio"},
		"no unit":           {run(100), run(100), nil, "no unit"},
		"two results":       {run(100), twice, units, "two results"},
	} {
		if _, err := report.Compare(c.first, c.second, scenarios(), c.units, 0.2); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func render(t *testing.T, differences []report.Difference) string {
	t.Helper()
	var out strings.Builder
	if err := report.WriteDifferences(&out, differences, 0.2); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
