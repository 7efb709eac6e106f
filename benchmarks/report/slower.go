package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/logistically/events/benchmarks/harness"
)

// loss is one of ours with a ratio below 1.
type loss struct {
	section *section
	s       *scenario
	of      string // what the ratio is of, unless it is the figure
	ours    string
	other   string
	ratio   spread
}

// losses compares each of ours with those of its scenario that against selects,
// worst first. Where there is a latency, its tail is compared, too.
func losses(b *book, against func(s *scenario, ours, other row) bool) []loss {
	var found []loss
	b.all(func(sec *section, s *scenario) {
		for _, ours := range s.rows {
			for _, other := range s.rows {
				if ours.kind != harness.Ours || other.name == ours.name || !against(s, ours, other) {
					continue
				}
				add := func(of string, r spread) {
					if r.n > 0 && r.median < 1 {
						found = append(found, loss{sec, s, of, ours.name, other.name, r})
					}
				}
				add("", s.ratio(ours, other.name))
				if s.latency() {
					add("p99", ratios(tail(ours.result), tail(other.result), true))
				}
			}
		}
	})
	slices.SortStableFunc(found, func(a, b loss) int { return cmp.Compare(a.ratio.median, b.ratio.median) })
	return found
}

// tail is the result with p99 as its figure, in milliseconds.
func tail(r harness.Result) harness.Result {
	var samples []harness.Sample
	for _, s := range r.Counted() {
		if s.Latency != nil {
			s.Figure = s.Latency.P99
			samples = append(samples, s)
		}
	}
	r.Samples = samples
	return r
}

func writeSlower(out *strings.Builder, b *book) {
	out.WriteString("## Where this library is slower than a peer\n\n")
	out.WriteString("Worst first. A ratio of 0.5 is half as good: half the rate, or twice the time, memory or commands.\n\n")
	writeLosses(out, "peer", losses(b, func(_ *scenario, ours, other row) bool {
		return other.kind == harness.Peer && ours.redis == other.redis
	}))
	across := losses(b, func(_ *scenario, ours, other row) bool {
		return other.kind == harness.Peer && ours.redis != other.redis
	})
	if len(across) > 0 {
		out.WriteString("### Where one side needs a redis-server and the other does not\n\n")
		out.WriteString("These differ in where messages are kept more than in the library.\n\n")
		writeLosses(out, "peer", across)
	}
	out.WriteString("### Below the ceiling\n\n")
	out.WriteString("The ceiling is what a scenario's ratios refer to, such as the server without a library.\n\n")
	writeLosses(out, "ceiling", losses(b, func(s *scenario, _, other row) bool { return other.name == s.Best }))

	writeWithout(out, b)
}

func writeLosses(out *strings.Builder, to string, found []loss) {
	if len(found) == 0 {
		out.WriteString("Nowhere in this run.\n\n")
		return
	}
	t := table{words: 3, head: []string{"scenario", "ours", to, "ratio [min–max]", "rounds"}}
	for _, l := range found {
		rounds := whole(float64(l.ratio.n))
		if l.ratio.high >= 1 {
			rounds += ", not all below 1"
		}
		what := link(l.section, l.s)
		if l.of != "" {
			what += ", " + l.of
		}
		t.add(what, l.ours, l.other, between(l.ratio), rounds)
	}
	t.write(out)
}

// writeWithout lists ours that have no figure where somebody else has one: a
// contest not taken part in is not won.
func writeWithout(out *strings.Builder, b *book) {
	t := table{words: 3, head: []string{"scenario", "ours", "why there is no figure"}}
	b.all(func(sec *section, s *scenario) {
		measured := slices.ContainsFunc(s.rows, func(r row) bool {
			return r.kind != harness.Ours && over(r.result, figure).n > 0
		})
		for _, r := range s.rows {
			if r.kind == harness.Ours && measured && over(r.result, figure).n == 0 {
				t.add(link(sec, s), r.name, r.why())
			}
		}
	})
	if len(t.rows) > 0 {
		out.WriteString("### Without a figure of ours\n\n")
		t.write(out)
	}
}

func link(sec *section, s *scenario) string {
	return "[" + s.Name + "](#" + sec.anchor() + ")"
}

// why says why the row has no figure.
func (r row) why() string {
	switch {
	case r.result.Error != "":
		return "**FAILED: " + r.result.Error + "**"
	case r.result.Skipped != "":
		return "skipped: " + r.result.Skipped
	case len(r.recorded) > 0:
		return "recorded: " + strings.Join(r.recorded, "; ")
	case r.absent:
		return "not run"
	}
	return "no samples"
}
