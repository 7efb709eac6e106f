package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/logistically/events/benchmarks/contestants"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/benchmarks/report"
	"github.com/logistically/events/benchmarks/scenarios"
)

// findings are what people made of the profiles; the report ends with them.
//
//go:embed FINDINGS.md
var findings string

// tolerance is how far a ratio of one run may be from that of another.
const tolerance = 0.20

func list(out io.Writer, selected []harness.Scenario, all []harness.Contestant) {
	fmt.Fprintln(out, "scenarios:")
	for _, s := range selected {
		fmt.Fprintf(out, "  %-18s %s\n", s.Name, s.Title)
	}
	fmt.Fprintln(out, "contestants:")
	for _, c := range all {
		fmt.Fprintf(out, "  %-34s %-8s %s\n", c.Name, c.Kind, c.Library)
	}
}

// write puts the results where the options say, complete or not.
func write(o options, results harness.Results) error {
	var failed error
	if o.json != "" {
		failed = writeJSON(o.json, results)
	}
	if o.out != "" {
		failed = errors.Join(failed, writeReport(o.out, results))
	}
	return failed
}

func writeJSON(path string, results harness.Results) error {
	text, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if path == "-" {
		_, err = os.Stdout.Write(text)
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func writeReport(dir string, results harness.Results) error {
	err := report.Write(dir, report.Input{
		Results: results, Scenarios: scenarios.All(), Contestants: contestants.All(), Units: harness.Units(),
		Recorded: contestants.Recorded(), Findings: findings,
	})
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	fmt.Fprintln(os.Stderr, "written:", filepath.Join(dir, "REPORT.md"))
	return nil
}

// rewrite makes the report again from a results.json.
func rewrite(path, dir string) error {
	results, err := report.ReadResults(path)
	if err != nil {
		return err
	}
	return writeReport(dir, results)
}

// compare holds the ratios of two runs against each other.
func compare(out io.Writer, files string) error {
	one, two, ok := strings.Cut(files, ",")
	if !ok {
		return fmt.Errorf("-compare %q: name two results.json, with a comma between them", files)
	}
	first, err := report.ReadResults(one)
	if err != nil {
		return err
	}
	second, err := report.ReadResults(two)
	if err != nil {
		return err
	}
	differences, err := report.Compare(first, second, scenarios.All(), harness.Units(), tolerance)
	if err != nil {
		return err
	}
	return report.WriteDifferences(out, differences, tolerance)
}
