package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/logistically/events/benchmarks/harness"
)

// worse is the cost relative to the first step from which on a cell is bold:
// half as much again, which is beyond the noise of rounds.
const worse = 1.5

// writeSeries shows how figures grow along an axis, then each step in full.
func writeSeries(out *strings.Builder, f *family, sec *section, plots []picture) {
	first := sec.scenarios[0]
	fmt.Fprintf(out, "<a id=\"%s\"></a>\n\n### %s\n\n", sec.anchor(), cell(sec.title()))
	writeLoad(out, "At each step", sec.common(), first)
	writePicture(out, plots, f.measure, sec.axis)
	writeGrowth(out, f, sec)
	out.WriteString("<details><summary>Each step in full</summary>\n\n")
	for _, s := range sec.scenarios {
		fmt.Fprintf(out, "#### %s\n\n", cell(textOr(s.Title, s.Name)))
		writeLoad(out, "`"+s.Name+"`", words(s.Scenario), s)
		writeScenario(out, s)
	}
	out.WriteString("</details>\n\n")
}

func writeGrowth(out *strings.Builder, f *family, sec *section) {
	steps := sec.steps()
	t := table{words: 2, head: []string{"contestant", "kind"}}
	for _, at := range steps {
		t.head = append(t.head, sec.number()+" "+sec.step(at))
	}
	cost := "↳ cost per message, relative to the first step"
	if f.unit.Less {
		cost = "↳ figure, relative to the first step"
	}
	for _, name := range sec.names() {
		var kind harness.Kind
		cells, growth := make([]string, len(steps)), make([]string, len(steps))
		var first float64
		for i, at := range steps {
			s, r, ok := sec.at(at, name)
			if !ok {
				cells[i], growth[i] = dash, dash
				continue
			}
			kind = r.kind
			cells[i] = s.brief(r)
			growth[i] = dash
			figure := over(r.result, figure).median
			if figure <= 0 {
				continue
			}
			if first == 0 {
				first = figure
			}
			growth[i] = grown(first, figure, f.unit.Less)
		}
		t.add(row{name: name, kind: kind}.title(), string(kind))
		last := len(t.rows) - 1
		t.rows[last] = append(t.rows[last], cells...)
		if first > 0 {
			t.add(append([]string{cost, ""}, growth...)...)
		}
	}
	t.write(out)
	worseThan := "."
	if !f.unit.Less {
		worseThan = ": the work grows faster than the number of messages."
	}
	fmt.Fprintf(out, "Medians. Bold: at least %s times the first step%s\n\n", whole(worse), worseThan)
}

func grown(first, now float64, less bool) string {
	cost := now / first
	if !less {
		cost = first / now
	}
	said := significant(cost)
	if cost >= worse {
		said = "**" + said + "**"
	}
	return said
}

// brief is a row's median, with percentiles where there are some.
func (s *scenario) brief(r row) string {
	f := over(r.result, figure)
	if f.n == 0 {
		return r.why()
	}
	if !s.latency() {
		return quantity(f.median, s.unit)
	}
	said := "p50 " + brief(r.percentile(p50)) + ", p99 " + brief(r.percentile(p99))
	if mark := r.queues(s.Load.Rate); mark != "" {
		said += " " + mark
	}
	return said
}

func (s *section) steps() []float64 {
	var steps []float64
	for _, sc := range s.scenarios {
		steps = append(steps, sc.At)
	}
	return slices.Compact(steps)
}

// names are the contestants of all steps, in the order in which they come.
func (s *section) names() []string {
	var names []string
	for _, sc := range s.scenarios {
		for _, r := range sc.rows {
			if !slices.Contains(names, r.name) {
				names = append(names, r.name)
			}
		}
	}
	return names
}

// at finds a contestant at a step. Several scenarios may have the same step and
// differ in their contestants.
func (s *section) at(at float64, name string) (*scenario, row, bool) {
	for _, sc := range s.scenarios {
		if r, ok := sc.find(name); ok && sc.At == at {
			return sc, r, true
		}
	}
	return nil, row{}, false
}

// title says what is measured over what.
func (s *section) title() string {
	if number := s.number(); number != s.scenarios[0].Measure {
		return s.scenarios[0].Measure + " over " + number
	}
	return s.axis
}

// number names the number in which the steps differ: the axis without the
// measure, which it may begin with to be another axis than that of a sibling.
func (s *section) number() string {
	return strings.TrimPrefix(s.axis, s.scenarios[0].Measure+" ")
}

// step is a number of the axis for people, with its unit where it is a size.
func (s *section) step(at float64) string {
	if slices.ContainsFunc(s.scenarios, func(sc *scenario) bool { return sc.At != float64(sc.Load.Body) }) {
		return whole(at)
	}
	return tick(at, harness.Unit{Name: "bytes"})
}
