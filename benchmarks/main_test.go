package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logistically/events/benchmarks/contestants"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/benchmarks/scenarios"
)

// The test binary is also the program.
func TestMain(m *testing.M) {
	if os.Getenv("EVENTS_BENCH_MAIN") != "" || os.Getenv("EVENTS_BENCH_CHILD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// program runs the benchmarks with a directory for temporary files of its own.
func program(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string, out *bytes.Buffer) {
	t.Helper()
	tmp, out = t.TempDir(), &bytes.Buffer{}
	cmd = exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "EVENTS_BENCH_MAIN=1", "TMPDIR="+tmp)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd, tmp, out
}

func TestARunWritesItsReport(t *testing.T) {
	dir := t.TempDir()
	cmd, _, out := program(t, "-passes", "1", "-rounds", "1", "-most", "1", "-duration", "20ms", "-scenario", "^(publish-1|consume|latency-1000|recovery|stored)$", "-contestant", "^(events|go-redis|watermill)", "-out", dir)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "REPORT.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"events redis", "watermill redisstream", "go-redis"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the report does not have %q", want)
		}
	}
	results := filepath.Join(dir, "results.json")
	same, _, said := program(t, "-compare", results+","+results)
	if err := same.Run(); err != nil || !strings.Contains(said.String(), "agree") {
		t.Errorf("%v\n%s", err, said)
	}
	again := t.TempDir()
	rewritten, _, said := program(t, "-rewrite", results, "-out", again)
	if err := rewritten.Run(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	if second, err := os.ReadFile(filepath.Join(again, "REPORT.md")); err != nil || !bytes.Equal(text, second) {
		t.Errorf("the report written again differs (%v)", err)
	}
}

func TestAnInterruptKeepsPartialResultsAndStopsTheChildren(t *testing.T) {
	dir := t.TempDir()
	cmd, tmp, out := program(t, "-duration", "10s", "-scenario", "^(stored|publish-1)$", "-contestant", "^events redis$", "-out", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.After(30 * time.Second)
	for len(glob(t, tmp, "redisserver-*")) == 0 {
		select {
		case <-limit:
			t.Fatal("it starts no server")
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "not complete") {
		t.Errorf("%v\n%s", err, out)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "REPORT.md")); err != nil || !strings.Contains(string(text), "PARTIAL") {
		t.Errorf("the report is not marked as partial (%v)", err)
	}
	if left := glob(t, tmp, "*"); len(left) > 0 { // the server removes its directory when it has ended
		t.Errorf("left behind: %v", left)
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWrongArgumentsSayWhatIsWrong(t *testing.T) {
	for want, args := range map[string][]string{
		"nothing is selected":               {"-scenario", "speed of light"},
		"-scenario: error parsing regexp":   {"-scenario", "("},
		"-contestant: error parsing regexp": {"-contestant", "("},
		"must be positive":                  {"-rounds", "0"},
		"unexpected argument":               {"publish"},
		"name two results.json":             {"-compare", "one"},
		"no such file or directory":         {"-compare", "one,two"},
		"redis-server is not installed":     {"-scenario", "^publish-1$", "-contestant", "^events redis$"},
	} {
		cmd, tmp, out := program(t, args...)
		cmd.Env = append(cmd.Env, "PATH="+tmp)
		if err := cmd.Run(); err == nil || !strings.Contains(out.String(), want) {
			t.Errorf("%v: %v, %s, want %q", args, err, out, want)
		}
	}
}

func TestEveryScenarioNamesWhatExists(t *testing.T) {
	all := contestants.All()
	exists := func(name string) bool {
		return slices.ContainsFunc(all, func(c harness.Contestant) bool { return c.Name == name })
	}
	seen := map[string]bool{}
	for _, s := range scenarios.All() {
		if seen[s.Name] {
			t.Errorf("scenario %s is there twice", s.Name)
		}
		seen[s.Name] = true
		if _, ok := harness.Measures[s.Measure]; !ok {
			t.Errorf("scenario %s: no measure %q", s.Name, s.Measure)
		}
		for _, name := range append(slices.Clone(s.Contestants), s.Peer, s.Best) {
			if name != "" && !exists(name) {
				t.Errorf("scenario %s: no contestant %q", s.Name, name)
			}
		}
		for _, name := range []string{s.Peer, s.Best} {
			if name != "" && !slices.Contains(s.Contestants, name) {
				t.Errorf("scenario %s: %q takes no part in it", s.Name, name)
			}
		}
	}
}
