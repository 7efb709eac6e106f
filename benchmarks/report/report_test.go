package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/benchmarks/report"
)

var update = flag.Bool("update", false, "write the golden files")

// write returns all files that the report consists of, by their slash path.
func write(t *testing.T, in report.Input) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	if err := report.Write(dir, in); err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestReportIsTheGoldenOne(t *testing.T) {
	files := write(t, madeUp(t))
	for _, name := range []string{"REPORT.md", report.ResultsFile} {
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, files[name], 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(files[name], want) {
			t.Errorf("%s differs from %s: run with -update and look at git diff", name, golden)
		}
	}
}

func TestSameResultsGiveTheSameBytes(t *testing.T) {
	first, second := write(t, madeUp(t)), write(t, madeUp(t))
	if len(first) < 5 || len(first) != len(second) {
		t.Fatalf("%d files, then %d", len(first), len(second))
	}
	for name := range first {
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestPlotsAreLinkedWhiteAndWellFormed(t *testing.T) {
	files := write(t, madeUp(t))
	var linked []string
	for _, m := range regexp.MustCompile(`!\[[^\]]+\]\(([^)]+)\)`).FindAllSubmatch(files["REPORT.md"], -1) {
		linked = append(linked, string(m[1]))
	}
	plots := 0
	for name, data := range files {
		if !strings.HasSuffix(name, ".svg") {
			continue
		}
		plots++
		if !slices.Contains(linked, name) {
			t.Errorf("%s is not linked", name)
		}
		if path := bytes.Index(data, []byte("<path")); path < 0 || !bytes.Contains(data[path:path+100], []byte("fill:#FFFFFF")) {
			t.Errorf("%s does not begin with a white background", name)
		}
		decoder := xml.NewDecoder(bytes.NewReader(data))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
	}
	if plots == 0 || plots != len(linked) {
		t.Errorf("%d plots, %d links", plots, len(linked))
	}
}

func TestPartialRunHasABanner(t *testing.T) {
	in := madeUp(t)
	if text := string(write(t, in)["REPORT.md"]); strings.Contains(text, "PARTIAL") {
		t.Error("a whole run is called partial")
	}
	in.Results.Partial = "interrupted in round 2"
	text := string(write(t, in)["REPORT.md"])
	banner := strings.Index(text, "PARTIAL RUN: do not quote its figures.** interrupted in round 2")
	if banner < 0 || banner > strings.Index(text, "## Environment") {
		t.Error("no banner above the environment")
	}
}

func TestSlowerComesFirstAndWorstFirst(t *testing.T) {
	text := string(write(t, madeUp(t))["REPORT.md"])
	slower, summary := strings.Index(text, "## Where this library is slower than a peer"), strings.Index(text, "## Summary")
	if slower < 0 || summary < slower {
		t.Fatal("what is slower does not come before the summary")
	}
	for _, part := range strings.Split(text[slower:summary], "\n#") {
		var ratios []float64
		for _, m := range regexp.MustCompile(`\| ([0-9.]+) \[[0-9.–]+\] \|`).FindAllStringSubmatch(part, -1) {
			r, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			ratios = append(ratios, r)
		}
		if !slices.IsSorted(ratios) {
			t.Errorf("not worst first: %v", ratios)
		}
	}
	if !strings.Contains(text[slower:summary], "latency-5000](#series-latency-over-rate), p99") {
		t.Error("a tail that is longer than the peer's is missing")
	}
}

func TestNowhereSlower(t *testing.T) {
	in := madeUp(t)
	in.Results.Results = []harness.Result{
		result("publish-single", router, 20, 21), result("publish-single", watermill, 10, 11),
	}
	if text := string(write(t, in)["REPORT.md"]); !strings.Contains(text, "Worst first. A ratio of 0.5 is half as good: half the rate, or twice the time, memory or commands.\n\nNowhere in this run.") {
		t.Error("it does not say that this library is slower nowhere")
	}
}

func TestEmptyResults(t *testing.T) {
	for name, in := range map[string]report.Input{
		"nothing at all": {},
		"no results":     {Scenarios: scenarios(), Contestants: contestants, Units: units},
	} {
		files := write(t, in)
		if text := string(files["REPORT.md"]); !strings.Contains(text, "This run has no results.") {
			t.Errorf("%s: the report does not say so", name)
		}
		if len(files) != 2 {
			t.Errorf("%s: %d files, want REPORT.md and results.json", name, len(files))
		}
	}
}

func TestFailedAndEmptyResultsAreLoud(t *testing.T) {
	in := madeUp(t)
	failed := result("publish-single", router, 50)
	failed.Error = "lost 3 messages"
	in.Results.Results = []harness.Result{
		failed, {Scenario: "publish-single", Contestant: batching}, result("publish-single", watermill, 10),
		result("publish-single", "newcomer", 10),
	}
	text := string(write(t, in)["REPORT.md"])
	for _, want := range []string{
		"FAILED measurements: 1.", "> - publish-single, events redis, router: lost 3 messages",
		"| **events redis, router** | ours | **FAILED: lost 3 messages** | – |",
		"| **events redis, batching** | ours | no samples | – |",
		"### Without a figure of ours",
		"| newcomer | unknown | 10.0 [10.0–10.0]/s | 1.00 [1.00–1.00] |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestResultsAreKeptWhenTheReportFails(t *testing.T) {
	noUnit, twice := madeUp(t), madeUp(t)
	noUnit.Units = nil
	twice.Results.Results = append(twice.Results.Results, twice.Results.Results[0])
	for name, in := range map[string]report.Input{"no unit": noUnit, "two results": twice} {
		dir := t.TempDir()
		if err := report.Write(dir, in); err == nil {
			t.Errorf("%s: no error", name)
		}
		kept, err := report.ReadResults(filepath.Join(dir, report.ResultsFile))
		if err != nil || len(kept.Results) != len(in.Results.Results) {
			t.Errorf("%s: kept %d of %d results, error %v", name, len(kept.Results), len(in.Results.Results), err)
		}
	}
}
