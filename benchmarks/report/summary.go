package report

import (
	"slices"
	"strings"

	"github.com/logistically/events/benchmarks/harness"
)

// writeSummary has the best of ours in each scenario. Those that need a
// redis-server and those that do not are not put against each other.
func writeSummary(out *strings.Builder, b *book) {
	out.WriteString("## Summary\n\n")
	t := table{words: 2, head: []string{"scenario", "best of ours", "figure [min–max]", "× peer [min–max]", "peer", "× ceiling [min–max]"}}
	b.all(func(sec *section, s *scenario) {
		first := s.reference()
		any := false
		for _, redis := range []bool{first, !first} {
			best, ok := s.best(harness.Ours, redis)
			if !ok {
				continue
			}
			any = true
			peer, ceiling := s.Peer, s.ratio(best, s.Best)
			if redis != first {
				other, _ := s.best(harness.Peer, redis)
				peer, ceiling = other.name, spread{}
			}
			ratio := s.ratio(best, peer)
			if ratio.n == 0 {
				peer = dash
			}
			t.add(link(sec, s), best.name, ranged(over(best.result, figure), s.unit), between(ratio), peer, between(ceiling))
		}
		if !any {
			t.add(link(sec, s), "none", dash, dash, dash, dash)
		}
	})
	if len(t.rows) == 0 {
		out.WriteString("This run has no results.\n\n")
		return
	}
	t.write(out)
}

// reference says whether what the scenario's ratios refer to needs a
// redis-server. Without one it is as with the first of ours.
func (s *scenario) reference() bool {
	for _, name := range []string{s.Peer, s.Best} {
		if r, ok := s.find(name); ok {
			return r.redis
		}
	}
	i := slices.IndexFunc(s.rows, func(r row) bool { return r.kind == harness.Ours })
	return i >= 0 && s.rows[i].redis
}

// best of a kind by median figure, among those that need a redis-server or among
// the others.
func (s *scenario) best(kind harness.Kind, redis bool) (best row, ok bool) {
	var top float64
	for _, r := range s.rows {
		f := over(r.result, figure)
		if r.kind != kind || r.redis != redis || f.n == 0 {
			continue
		}
		if !ok || (s.unit.Less && f.median < top) || (!s.unit.Less && f.median > top) {
			best, top, ok = r, f.median, true
		}
	}
	return best, ok
}
