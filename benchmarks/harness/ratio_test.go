package harness_test

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/logistically/events/benchmarks/harness"
)

// scripted is a contestant that measures itself: its rounds have these figures, the
// last one again and again. The first is that of the round that warms up.
type scripted struct {
	queue
	figures []float64
	round   *int
}

func (s *scripted) Measure(context.Context, string) (messages int, seconds float64, err error) {
	at := min(*s.round, len(s.figures)-1)
	*s.round++
	return 1000, 1000 / s.figures[at], nil
}

func script(name string, figures ...float64) harness.Contestant {
	c, round := fake(name, queue{}), new(int)
	open := c.Open
	c.Open = func(ctx context.Context, env harness.Env) (harness.System, error) {
		system, err := open(ctx, env)
		return &scripted{queue: *system.(*queue), figures: figures, round: round}, err
	}
	return c
}

func TestContestantsGetMoreRoundsUntilTheirRatiosAreSettled(t *testing.T) {
	sc := scenario("publish", harness.Load{}, "peer", "steady", "wild", "calms down", "alone")
	sc.Peer = "peer"
	swings := append([]float64{1}, slices.Repeat([]float64{100, 300}, 15)...)
	run := harness.Run{
		Scenarios: []harness.Scenario{sc}, Rounds: 3, Most: 12, Duration: time.Millisecond, Log: io.Discard,
	}
	check := func(want map[string]int) {
		t.Helper()
		run.Contestants = []harness.Contestant{script("peer", 200), script("steady", 1, 100, 101, 99), script("wild", swings...), script("calms down", 1, 100, 300, 100)}
		for _, r := range run.Do(t.Context()).Results {
			numbers := map[int]bool{}
			for _, s := range r.Samples {
				numbers[s.Round] = true
			}
			if got := len(numbers); got != want[r.Contestant] || r.Error != "" {
				t.Errorf("%s: %d rounds, want %d (%s)", r.Contestant, got, want[r.Contestant], r.Error)
			}
		}
	}
	// What calms down is settled as soon as three quarters of its rounds agree; its
	// peer goes on with the one that never is.
	check(map[string]int{"peer": 12, "wild": 12, "steady": 3, "calms down": 5})

	run.Passes = 2
	check(map[string]int{"peer": 24, "wild": 24, "steady": 6, "calms down": 8})

	run.Scenarios[0].Rounds = 4 // and in one pass
	check(map[string]int{"peer": 4, "wild": 4, "steady": 4, "calms down": 4})
	run.Passes, run.Scenarios[0].Rounds, run.Scenarios[0].Peer = 1, 0, ""
	check(map[string]int{"peer": 3, "wild": 3, "steady": 3, "calms down": 3})
}

func TestQuartilesLieBetweenValues(t *testing.T) {
	lower, upper := harness.Quartiles([]float64{4, 1, 3, 2})
	if median := harness.Median([]float64{4, 1, 3, 2}); lower != 1.75 || median != 2.5 || upper != 3.25 {
		t.Errorf("%v %v %v", lower, median, upper)
	}
	if lower, upper := harness.Quartiles([]float64{7}); lower != 7 || upper != 7 {
		t.Errorf("one value: %v %v", lower, upper)
	}
}
