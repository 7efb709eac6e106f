// Package report turns the results of a run into what people read: REPORT.md
// with its plots, and results.json, from which the same report can be written
// again byte by byte.
package report

import (
	"fmt"
	"path/filepath"

	"github.com/logistically/events/benchmarks/harness"
)

// Input is what a report is made of.
type Input struct {
	Results     harness.Results
	Scenarios   []harness.Scenario // in the order in which the report shows them
	Contestants []harness.Contestant
	Units       map[string]harness.Unit // by the measure of a scenario
	Recorded    []RecordedFigure
	// Findings is markdown written by hand, such as what profiles have shown. It
	// ends the report, with the headings that it has. May be empty.
	Findings string
}

// RecordedFigure is a figure of a library that was not run here. Tables show it
// as "recorded: …"; no ratio uses it, since it comes from another machine.
type RecordedFigure struct {
	Contestant string
	Scenario   string // name of a scenario
	Text       string // the figure with its unit and source
}

// Write writes results.json, plots/*.svg and REPORT.md into dir, which it makes
// if need be. Each file is replaced whole or not at all. The results come first,
// so that nothing measured is lost if the rest fails. Plots of an earlier run
// stay where no new one has their name; REPORT.md does not link them.
func Write(dir string, in Input) error {
	if err := writeResults(filepath.Join(dir, ResultsFile), in.Results); err != nil {
		return err
	}
	b, err := newBook(in)
	if err != nil {
		return err
	}
	plots, err := drawPlots(b)
	if err != nil {
		return err
	}
	for _, p := range plots {
		if err := replaceFile(filepath.Join(dir, filepath.FromSlash(p.path)), p.svg); err != nil {
			return err
		}
	}
	return replaceFile(filepath.Join(dir, "REPORT.md"), markdown(b, plots))
}

// drawPlots draws one picture for each family that has bars and for each series.
func drawPlots(b *book) ([]picture, error) {
	var plots []picture
	for _, f := range b.families {
		p, ok, err := bars(f)
		if err != nil {
			return nil, fmt.Errorf("report: plot of %s: %w", f.measure, err)
		}
		if ok {
			plots = append(plots, p)
		}
		for _, s := range f.sections {
			if s.axis == "" {
				continue
			}
			p, ok, err := curves(f, s)
			if err != nil {
				return nil, fmt.Errorf("report: plot of %s over %s: %w", f.measure, s.axis, err)
			}
			if ok {
				plots = append(plots, p)
			}
		}
	}
	return plots, nil
}
