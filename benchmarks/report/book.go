package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/logistically/events/benchmarks/harness"
)

// book is the input joined: families of sections of scenarios, each with a row
// for each contestant. It keeps the order of the scenarios.
type book struct {
	in       Input
	families []*family
	// stray are results of scenarios that the input does not list, idle the names
	// of scenarios about which the run says nothing.
	stray []harness.Result
	idle  []string
}

// family is what is measured in the same way and has the same unit.
type family struct {
	measure  string
	unit     harness.Unit
	sections []*section
}

// section is a scenario that stands alone, or with an axis those that differ in
// one number, in the order of that number.
type section struct {
	axis      string
	scenarios []*scenario
}

type scenario struct {
	harness.Scenario
	unit harness.Unit
	rows []row
}

// row is one contestant in one scenario.
type row struct {
	name     string
	kind     harness.Kind
	redis    bool // needs a redis-server
	result   harness.Result
	absent   bool     // the run has no result of it
	recorded []string // figures from elsewhere
}

type key struct{ scenario, contestant string }

func newBook(in Input) (*book, error) {
	results, err := byKey(in.Results)
	if err != nil {
		return nil, err
	}
	b := &book{in: in}
	listed := make(map[string]bool)
	for _, sc := range in.Scenarios {
		listed[sc.Name] = true
		unit, ok := in.Units[sc.Measure]
		if !ok {
			return nil, fmt.Errorf("report: scenario %s: no unit for the measure %q", sc.Name, sc.Measure)
		}
		s := &scenario{Scenario: sc, unit: unit, rows: rowsOf(in, sc, results)}
		if !slices.ContainsFunc(s.rows, func(r row) bool { return !r.absent || len(r.recorded) > 0 }) {
			b.idle = append(b.idle, sc.Name)
			continue
		}
		b.add(s)
	}
	for _, r := range in.Results.Results {
		if !listed[r.Scenario] {
			b.stray = append(b.stray, r)
		}
	}
	return b, nil
}

func byKey(results harness.Results) (map[key]harness.Result, error) {
	found := make(map[key]harness.Result, len(results.Results))
	for _, r := range results.Results {
		k := key{r.Scenario, r.Contestant}
		if _, twice := found[k]; twice {
			return nil, fmt.Errorf("report: two results of %s in %s", r.Contestant, r.Scenario)
		}
		found[k] = r
	}
	return found, nil
}

// rowsOf has the scenario's contestants in its order, then those that only the
// results or the recorded figures know, by name.
func rowsOf(in Input, sc harness.Scenario, results map[key]harness.Result) []row {
	names := slices.Clone(sc.Contestants)
	var others []string
	for k := range results {
		if k.scenario == sc.Name {
			others = append(others, k.contestant)
		}
	}
	recorded := make(map[string][]string)
	for _, r := range in.Recorded {
		if r.Scenario == sc.Name {
			recorded[r.Contestant] = append(recorded[r.Contestant], r.Text)
			others = append(others, r.Contestant)
		}
	}
	slices.Sort(others)
	for _, name := range others {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	rows := make([]row, 0, len(names))
	for _, name := range names {
		r := row{name: name, kind: "unknown", recorded: recorded[name]}
		result, ok := results[key{sc.Name, name}]
		r.result, r.absent = result, !ok
		for _, c := range in.Contestants {
			if c.Name != name {
				continue
			}
			r.kind, r.redis = c.Kind, c.Redis
			if limit := c.Limits[sc.Measure]; !ok && limit != "" {
				r.result.Skipped = limit
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// add puts a scenario into its family and section.
func (b *book) add(s *scenario) {
	i := slices.IndexFunc(b.families, func(f *family) bool { return f.measure == s.Measure })
	if i < 0 {
		i = len(b.families)
		b.families = append(b.families, &family{measure: s.Measure, unit: s.unit})
	}
	f := b.families[i]
	j := slices.IndexFunc(f.sections, func(sec *section) bool { return s.Axis != "" && sec.axis == s.Axis })
	if j < 0 {
		j = len(f.sections)
		f.sections = append(f.sections, &section{axis: s.Axis})
	}
	sec := f.sections[j]
	sec.scenarios = append(sec.scenarios, s)
	slices.SortStableFunc(sec.scenarios, func(a, b *scenario) int { return cmp.Compare(a.At, b.At) })
}

// all calls see for each scenario in the order of the report.
func (b *book) all(see func(*section, *scenario)) {
	for _, f := range b.families {
		for _, sec := range f.sections {
			for _, s := range sec.scenarios {
				see(sec, s)
			}
		}
	}
}

// anchor is where the section can be linked to.
func (s *section) anchor() string {
	if s.axis == "" {
		return "scenario-" + slug(s.scenarios[0].Name)
	}
	return "series-" + slug(s.title())
}

func (s *scenario) find(name string) (row, bool) {
	for _, r := range s.rows {
		if r.name == name {
			return r, true
		}
	}
	return row{}, false
}

// ratio is of a row to the contestant that has the name; n is 0 if there is none.
func (s *scenario) ratio(r row, to string) spread {
	other, ok := s.find(to)
	if !ok || to == r.name {
		return spread{}
	}
	return ratios(r.result, other.result, s.unit.Less)
}

// latency says that the scenario is about latency: at a rate, with percentiles.
func (s *scenario) latency() bool { return s.Load.Rate > 0 && s.timed() }

// timed says that rounds have percentiles. Without a rate they are of the calls
// that publish.
func (s *scenario) timed() bool {
	return slices.ContainsFunc(s.rows, func(r row) bool {
		return slices.ContainsFunc(r.result.Counted(), func(s harness.Sample) bool { return s.Latency != nil })
	})
}

// across says that the row and the one that has the name keep messages in
// different places, so that their ratio says more about these.
func (s *scenario) across(r row, name string) bool {
	other, ok := s.find(name)
	return ok && r.kind != "unknown" && other.kind != "unknown" && r.redis != other.redis
}

// slug makes a name fit for files and anchors.
func slug(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return strings.Join(words, "-")
}
