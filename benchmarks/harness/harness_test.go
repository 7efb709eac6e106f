package harness_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logistically/events/benchmarks/harness"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if was, err := harness.Child([]harness.Contestant{fake("keeps", queue{})}); was {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// queue is a contestant of few lines, with faults to choose.
type queue struct {
	lose  func(body []byte) bool // drops such a message when it is delivered
	twice bool                   // delivers everything twice
	lie   int                    // is added to what Stored says
	stop  bool                   // Consume returns at once

	mu     *sync.Mutex
	bodies *[][]byte
	more   chan struct{}
}

func fake(name string, q queue) harness.Contestant {
	return harness.Contestant{
		Name: name, Kind: harness.Ours, Library: "made up", Replays: true,
		Open: func(context.Context, harness.Env) (harness.System, error) {
			opened := q
			opened.mu, opened.bodies, opened.more = &sync.Mutex{}, &[][]byte{}, make(chan struct{}, 1)
			return &opened, nil
		},
	}
}

func (q *queue) Publish(_ context.Context, bodies [][]byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	*q.bodies = append(*q.bodies, bodies...)
	select {
	case q.more <- struct{}{}:
	default:
	}
	return nil
}

func (q *queue) Consume(ctx context.Context, _ string, handle harness.Handler) error {
	for at := 0; !q.stop; {
		q.mu.Lock()
		page := (*q.bodies)[at:]
		q.mu.Unlock()
		for _, body := range page {
			for err := errors.New("first"); err != nil && ctx.Err() == nil; {
				if q.lose != nil && q.lose(body) {
					break
				}
				if err = handle(ctx, body); q.twice {
					err = handle(ctx, body)
				}
			}
		}
		at += len(page)
		if len(page) > 0 {
			continue
		}
		select {
		case <-q.more:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (q *queue) Stored(context.Context) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(*q.bodies) + q.lie, nil
}

func (q *queue) Close() error { return nil }

func scenario(measure string, load harness.Load, who ...string) harness.Scenario {
	if load.Body == 0 {
		load.Body = 64
	}
	return harness.Scenario{Name: measure, Title: measure, Measure: measure, Load: load, Contestants: who}
}

func run(t *testing.T, sc harness.Scenario, who ...harness.Contestant) []harness.Result {
	t.Helper()
	r := harness.Run{Scenarios: []harness.Scenario{sc}, Contestants: who, Rounds: 2, Duration: 20 * time.Millisecond, Log: io.Discard}
	return r.Do(t.Context()).Results
}

func TestEveryMeasureCountsWhatItDid(t *testing.T) {
	for _, tt := range []struct {
		measure string
		load    harness.Load
	}{
		{"publish", harness.Load{Callers: 4, Bulk: 10}},
		{"publish", harness.Load{Callers: 2, Webhooks: true}},
		{"consume", harness.Load{}},
		{"consume", harness.Load{Work: time.Microsecond}},
		{"drain", harness.Load{Backlog: 5000}},
		{"storm", harness.Load{Fails: 10}},
		{"fanout", harness.Load{Groups: 3}},
		{"mixed", harness.Load{Callers: 2, Bulk: 2}},
		{"latency", harness.Load{Callers: 4, Rate: 2000}},
		{"memory", harness.Load{InFlight: 1}},
	} {
		res := run(t, scenario(tt.measure, tt.load, "good"), fake("good", queue{}))
		if res[0].Error != "" || len(res[0].Samples) != 2 {
			t.Errorf("%s %+v: %+v", tt.measure, tt.load, res[0])
			continue
		}
		for _, s := range res[0].Samples {
			if s.Messages == 0 || s.Figure == 0 && tt.measure != "memory" {
				t.Errorf("%s: %+v", tt.measure, s)
			}
			if tt.measure == "drain" && s.Messages != 5000 || tt.measure == "latency" && (s.Latency == nil || s.Latency.P50 <= 0) {
				t.Errorf("%s: %+v", tt.measure, s)
			}
		}
	}
}

func TestALossFailsTheContestantAndNotTheOthers(t *testing.T) {
	lossy := fake("lossy", queue{lose: func(body []byte) bool { return strings.HasPrefix(string(body), `{"n":"0000000007"`) }})
	liar := fake("liar", queue{lie: -1})
	quits := fake("quits", queue{stop: true})
	shut := harness.Contestant{Name: "shut", Open: func(context.Context, harness.Env) (harness.System, error) { return nil, errors.New("no licence") }}
	harness.SetPatience(t, 100*time.Millisecond)
	res := run(t, scenario("consume", harness.Load{}, "lossy", "good", "quits", "shut", "nobody"), lossy, fake("good", queue{}), quits, shut)
	for i, want := range []string{"1 of 600 messages were not delivered", "", "consume ended by itself", "open: no licence", ""} {
		if got := res[i].Error; !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: error %q, want %q", res[i].Contestant, got, want)
		}
	}
	if len(res[1].Samples) != 2 || res[4].Skipped == "" {
		t.Errorf("good %+v, nobody %+v", res[1], res[4])
	}
	res = run(t, scenario("publish", harness.Load{}, "liar"), liar)
	if !strings.Contains(res[0].Error, "acknowledged and") {
		t.Errorf("a contestant that stores less than it acknowledges: %+v", res[0])
	}
}

func TestDuplicatesAreAllowedAndCounted(t *testing.T) {
	res := run(t, scenario("drain", harness.Load{Backlog: 1000}, "twice"), fake("twice", queue{twice: true}))
	if s := res[0].Samples; len(s) != 2 || s[0].Duplicates == 0 {
		t.Errorf("%+v", res[0])
	}
}

func TestAnInterruptedRunKeepsWhatItHasAndSaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	slow := fake("slow", queue{})
	open := slow.Open
	opened := 0
	slow.Open = func(ctx context.Context, env harness.Env) (harness.System, error) {
		if opened++; opened == 6 {
			cancel()
		}
		return open(ctx, env)
	}
	first, second, third := scenario("publish", harness.Load{}, "slow"), scenario("mixed", harness.Load{}, "slow"), scenario("consume", harness.Load{}, "slow")
	r := harness.Run{Scenarios: []harness.Scenario{first, second, third}, Contestants: []harness.Contestant{slow}, Rounds: 3, Duration: time.Millisecond, Log: io.Discard}
	results := r.Do(ctx)
	if results.Partial == "" || len(results.Results) != 2 || len(results.Results[0].Samples) != 3 || results.Results[1].Error != "" {
		t.Errorf("%+v", results)
	}
}

func TestAConsumerIsKilledAndAnotherTakesOver(t *testing.T) {
	harness.SetPatience(t, 500*time.Millisecond)
	// The made-up queue lives in each process, so here the message is there again at once.
	res := run(t, scenario("recovery", harness.Load{InFlight: 1}, "keeps"), fake("keeps", queue{}))
	if !strings.Contains(res[0].Error, "never got a message") {
		t.Errorf("%+v", res[0])
	}
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	needs := fake("needs redis", queue{})
	needs.Redis = true
	sc := scenario("publish", harness.Load{}, "needs redis")
	sc.Server = []string{"--port", port}
	if res := run(t, sc, needs); !strings.Contains(res[0].Error, "Address already in use") {
		t.Errorf("port taken: %+v", res[0])
	}
	t.Setenv("PATH", t.TempDir())
	if res := run(t, scenario("publish", harness.Load{}, "needs redis"), needs); !strings.Contains(res[0].Error, "redis-server is not installed") {
		t.Errorf("no server: %+v", res[0])
	}
}

func TestWhatAScenarioAsksForInVainIsAnError(t *testing.T) {
	good := fake("good", queue{})
	for _, sc := range []harness.Scenario{scenario("speed", harness.Load{}, "good"), scenario("publish", harness.Load{Body: 3}, "good")} {
		if res := run(t, sc, good); res[0].Error == "" {
			t.Errorf("%s: %+v", sc.Name, res[0])
		}
	}
	limited := good
	limited.Limits = map[string]string{"publish": "it only reads"}
	if res := run(t, scenario("publish", harness.Load{}, "good"), limited); res[0].Skipped != "it only reads" {
		t.Errorf("%+v", res[0])
	}
}
