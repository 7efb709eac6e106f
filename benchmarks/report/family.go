package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/logistically/events/benchmarks/harness"
)

func writeFamily(out *strings.Builder, f *family, plots []picture) {
	better := "more is better"
	if f.unit.Less {
		better = "less is better"
	}
	fmt.Fprintf(out, "## Measured: %s\n\nIn %s, %s.\n\n", f.measure, f.unit.Name, better)
	writePicture(out, plots, f.measure, "")
	for _, sec := range f.sections {
		if sec.axis != "" {
			writeSeries(out, f, sec, plots)
			continue
		}
		s := sec.scenarios[0]
		fmt.Fprintf(out, "<a id=\"%s\"></a>\n\n### %s\n\n", sec.anchor(), cell(textOr(s.Title, s.Name)))
		writeLoad(out, "`"+s.Name+"`", words(s.Scenario), s)
		writeScenario(out, s)
	}
}

func writePicture(out *strings.Builder, plots []picture, measure, axis string) {
	for _, p := range plots {
		if p.measure == measure && p.axis == axis {
			fmt.Fprintf(out, "![%s](%s)\n\n", p.alt, p.path)
		}
	}
}

func writeLoad(out *strings.Builder, name string, said []string, s *scenario) {
	if len(said) > 0 {
		name += ": " + strings.Join(said, ", ")
	}
	out.WriteString(name + ".")
	if s.Peer != "" {
		out.WriteString(" Peer: " + s.Peer + ".")
	}
	if s.Best != "" {
		out.WriteString(" Ceiling: " + s.Best + ".")
	}
	out.WriteString("\n\n")
}

// column is a column of a scenario's table after the names.
type column struct {
	head string
	cell func(row) string
}

func writeScenario(out *strings.Builder, s *scenario) {
	columns := s.columns()
	t := table{words: 2, head: []string{"contestant", "kind"}}
	for _, c := range columns {
		t.head = append(t.head, c.head)
	}
	for _, r := range s.rows {
		cells := []string{r.title(), string(r.kind)}
		for _, c := range columns {
			cells = append(cells, c.cell(r))
		}
		t.add(cells...)
	}
	t.write(out)
	if slices.ContainsFunc(s.rows, func(r row) bool { return s.across(r, s.Peer) || s.across(r, s.Best) }) {
		out.WriteString(acrossMark + " One of the two needs a redis-server and the other does not.\n\n")
	}
}

// acrossMark marks ratios of contestants that keep messages in different places.
const acrossMark = "†"

// columns are those about which the scenario has something to say.
func (s *scenario) columns() []column {
	var columns []column
	add := func(head string, cell func(row) string) { columns = append(columns, column{head, cell}) }
	if s.latency() {
		for _, p := range percentiles {
			add(p.name, func(r row) string { return brief(r.percentile(p.of)) })
		}
		add("achieved", func(r row) string { return r.reached(s.Load.Rate) })
	}
	add("figure [min–max]", func(r row) string { return s.figureCell(r) })
	ratio := func(head, to string) {
		if to == "" {
			return
		}
		add(head+" [min–max]", func(r row) string {
			cell := between(s.ratio(r, to))
			if cell != dash && s.across(r, to) {
				cell += " " + acrossMark
			}
			return cell
		})
	}
	ratio("× peer", s.Peer)
	ratio("× ceiling", s.Best)
	if s.timed() && !s.latency() {
		add("p50 of a call", func(r row) string { return brief(r.percentile(p50)) })
		add("p99 of a call", func(r row) string { return brief(r.percentile(p99)) })
	}
	add("client CPU s/M msgs", func(r row) string { return number(over(r.result, clientCPU)) })
	add("server CPU s/M msgs", func(r row) string { return number(over(r.result, serverCPU)) })
	if slices.ContainsFunc(s.rows, func(r row) bool { return r.duplicates() > 0 }) {
		add("duplicates, all rounds", func(r row) string { return whole(float64(r.duplicates())) })
	}
	return columns
}

func (s *scenario) figureCell(r row) string {
	f := over(r.result, figure)
	if f.n == 0 {
		return r.why()
	}
	said := ranged(f, s.unit)
	if len(r.recorded) > 0 {
		said += "; recorded: " + strings.Join(r.recorded, "; ")
	}
	return said
}

// title is the row's name; ours stand out.
func (r row) title() string {
	if r.kind == harness.Ours {
		return "**" + r.name + "**"
	}
	return r.name
}

func (r row) duplicates() int {
	sum := 0
	for _, s := range r.result.Counted() {
		sum += s.Duplicates
	}
	return sum
}
