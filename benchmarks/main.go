// Benchmarks puts this library beside its peers, in one run on one machine,
// and writes the report. It starts every server that it needs by itself.
//
//	go run .                       everything, about 22 minutes
//	go run . -quick                the most important scenarios, under two minutes
//	go run . -scenario '^publish'  -contestant 'events|watermill' -duration 2s
//	go run . -compare one/results.json,two/results.json
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/logistically/events/benchmarks/contestants"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/benchmarks/scenarios"
)

type options struct {
	scenario, contestant *regexp.Regexp
	quick, list          bool
	passes, rounds, most int
	duration             time.Duration
	out, json            string
	profile              string
	compare, rewrite     string
}

func main() {
	if was, err := harness.Child(contestants.All()); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, "benchmarks: consumer:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, opts)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	scenario := flags.String("scenario", "", "run the scenarios whose names match this regular expression")
	contestant := flags.String("contestant", "", "run the contestants whose names match this regular expression")
	flags.BoolVar(&o.quick, "quick", false, "run the scenarios of the short run only")
	flags.BoolVar(&o.list, "list", false, "list scenarios and contestants")
	flags.IntVar(&o.passes, "passes", 2, "how often all scenarios are gone through")
	flags.IntVar(&o.rounds, "rounds", 3, "rounds of a pass that count at least, after one that warms up")
	flags.IntVar(&o.most, "most", 8, "rounds of a pass at most, where ratios differ from round to round")
	flags.DurationVar(&o.duration, "duration", 250*time.Millisecond, "how long a round shall take")
	flags.StringVar(&o.out, "out", "", "write REPORT.md, plots and results.json into this directory")
	flags.StringVar(&o.json, "json", "", "write the results as JSON into this file; - is standard output")
	flags.StringVar(&o.profile, "profile", "", "write processor, allocation and block profiles into this directory")
	flags.StringVar(&o.compare, "compare", "", "compare the ratios of two runs: FILE,FILE of results.json")
	flags.StringVar(&o.rewrite, "rewrite", "", "write the report of this results.json again, into -out")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: see -help", flags.Arg(0))
	}
	if o.passes < 1 || o.rounds < 1 || o.duration <= 0 {
		return o, fmt.Errorf("-passes %d -rounds %d -duration %v: all must be positive", o.passes, o.rounds, o.duration)
	}
	if o.scenario, err = regexp.Compile(*scenario); err != nil {
		return o, fmt.Errorf("-scenario: %w", err)
	}
	if o.contestant, err = regexp.Compile(*contestant); err != nil {
		return o, fmt.Errorf("-contestant: %w", err)
	}
	return o, nil
}

func run(ctx context.Context, o options) error {
	all := slices.DeleteFunc(contestants.All(), func(c harness.Contestant) bool { return !o.contestant.MatchString(c.Name) })
	selected := slices.DeleteFunc(scenarios.All(), func(s harness.Scenario) bool {
		return !o.scenario.MatchString(s.Name) || o.quick && !s.Quick
	})
	switch {
	case o.compare != "":
		return compare(os.Stdout, o.compare)
	case o.rewrite != "":
		return rewrite(o.rewrite, o.out)
	case len(all) == 0 || len(selected) == 0:
		return fmt.Errorf("nothing is selected: -list shows the names")
	case o.list:
		list(os.Stdout, selected, all)
		return nil
	}
	if _, err := exec.LookPath("redis-server"); err != nil && slices.ContainsFunc(all, func(c harness.Contestant) bool { return c.Redis }) {
		return fmt.Errorf("redis-server is not installed: 'make redis-server' as root, 'apt-get install redis-server' or 'brew install redis' installs it; -contestant memory runs without")
	}
	stopProfiles, err := startProfiles(o.profile)
	if err != nil {
		return err
	}
	results := harness.Run{Scenarios: selected, Contestants: all, Passes: o.passes, Rounds: o.rounds, Most: o.most, Duration: o.duration, Log: os.Stderr}.Do(ctx)
	if err := stopProfiles(); err != nil {
		return err
	}
	if err := write(o, results); err != nil {
		return err
	}
	return verdict(results)
}

// verdict is an error if the run is not complete or a contestant failed.
func verdict(results harness.Results) error {
	failed := 0
	for _, r := range results.Results {
		if r.Error != "" {
			failed++
			fmt.Fprintf(os.Stderr, "FAILED %s, %s: %s\n", r.Scenario, r.Contestant, r.Error)
		}
	}
	switch {
	case results.Partial != "":
		return fmt.Errorf("the run is not complete: %s; what was measured is written and marked as partial", results.Partial)
	case failed > 0:
		return fmt.Errorf("%d measurements failed", failed)
	}
	return nil
}
