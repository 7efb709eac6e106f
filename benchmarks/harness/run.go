package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"
)

// Run measures scenarios one after the other. Within a scenario the contestants
// take turns round by round, so that the machine's drift hits all of them alike.
type Run struct {
	Scenarios   []Scenario
	Contestants []Contestant
	// Passes is how often all scenarios are gone through, so that what a machine is
	// like for some minutes is not all that a scenario sees of it. Zero is once.
	Passes int
	// Rounds is how many rounds of a pass count at least, after a first one that does
	// not. Contestants whose ratios differ from round to round get more, until the
	// ratios are settled, and at most Most.
	Rounds, Most int
	// Duration is how long a round shall take.
	Duration time.Duration
	// Log gets a line for each result, as it comes.
	Log io.Writer
}

var errInterrupted = errors.New("interrupted")

// Do runs everything. When ctx ends it stops and marks the results as partial;
// they hold what was measured until then. All that it started has ended.
func (r Run) Do(ctx context.Context) Results {
	passes := max(r.Passes, 1)
	results := Results{
		Environment: NewEnvironment(ctx, r.Contestants),
		Started:     time.Now().UTC().Truncate(time.Second),
		Passes:      passes,
		Rounds:      r.Rounds,
		Most:        max(r.Rounds, r.Most),
		Duration:    r.Duration.String(),
	}
	measured := make([][]Result, len(r.Scenarios))
	for i := range passes * len(r.Scenarios) {
		pass, at := i/len(r.Scenarios), i%len(r.Scenarios)
		sc := r.Scenarios[at]
		if sc.Rounds > 0 && pass > 0 {
			continue
		}
		fmt.Fprintf(r.Log, "[%d/%d, %d/%d] %s: %s (at %.0f s)\n", pass+1, passes, at+1, len(r.Scenarios), sc.Name, sc.Title, time.Since(results.Started).Seconds())
		measured[at] = r.scenario(ctx, sc, measured[at])
		if ctx.Err() != nil {
			results.Partial = fmt.Sprintf("interrupted in scenario %s, %d of %d, pass %d of %d", sc.Name, at+1, len(r.Scenarios), pass+1, passes)
			break
		}
	}
	results.Results = slices.Concat(measured...)
	results.Seconds = time.Since(results.Started).Seconds()
	return results
}

// scenario measures one scenario, all rounds of a pass, and adds them to those of the
// passes before.
func (r Run) scenario(ctx context.Context, sc Scenario, before []Result) []Result {
	stages, results, err := r.stages(ctx, sc)
	past := 0
	for i := range before {
		results[i].Error, results[i].Samples = before[i].Error, before[i].Samples
		for _, s := range before[i].Samples {
			past = max(past, s.Round)
		}
	}
	defer func() {
		for _, s := range stages {
			if err := s.close(); err != nil && results[s.index].Error == "" {
				results[s.index].Error = "close: " + err.Error()
			}
		}
	}()
	if err != nil {
		for i := range results {
			results[i].Error = err.Error()
		}
		return results
	}
	first := 0
	if sc.Cold {
		first = 1
	}
	for round := first; ctx.Err() == nil; round++ {
		takes := r.another(sc, results, round)
		if takes == nil {
			break
		}
		for i := range stages {
			s := stages[(i+round)%len(stages)] // nobody is always the first
			if results[s.index].Error != "" || !takes(s.contestant.Name) || ctx.Err() != nil {
				continue
			}
			sample, err := s.round(ctx, past+round)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				results[s.index] = Result{Scenario: sc.Name, Contestant: s.contestant.Name, Error: err.Error()}
			case round > 0:
				results[s.index].Samples = append(results[s.index].Samples, sample)
			}
		}
	}
	for _, res := range results {
		fmt.Fprintln(r.Log, "   ", summary(res, Measures[sc.Measure].Unit))
	}
	return results
}

// stages sets up the contestants of a scenario. Results are those of all of
// them, in order; stages those that can take part.
func (r Run) stages(ctx context.Context, sc Scenario) (stages []*stage, results []Result, err error) {
	m, ok := Measures[sc.Measure]
	content, bodyErr := newBodies(sc.Load)
	redis := false
	for i, name := range sc.Contestants {
		results = append(results, Result{Scenario: sc.Name, Contestant: name})
		at := slices.IndexFunc(r.Contestants, func(c Contestant) bool { return c.Name == name })
		if at < 0 {
			results[i].Skipped = "not selected"
			continue
		}
		c := r.Contestants[at]
		if reason := c.Limits[sc.Measure]; reason != "" {
			results[i].Skipped = reason
			continue
		}
		redis = redis || c.Redis
		stages = append(stages, &stage{index: i, scenario: sc, contestant: c, measure: m, bodies: content, duration: r.Duration})
	}
	if !ok {
		return nil, results, fmt.Errorf("scenario %s: there is no measure %q", sc.Name, sc.Measure)
	}
	if bodyErr != nil {
		return nil, results, fmt.Errorf("scenario %s: %w", sc.Name, bodyErr)
	}
	if !redis {
		return stages, results, nil
	}
	server, err := StartServer(ctx, sc.Server...)
	if err != nil {
		return nil, results, err
	}
	// The last stage to close takes the server with it.
	shared := &sharedServer{Server: server, users: len(stages)}
	for _, s := range stages {
		s.server = shared
	}
	return stages, results, nil
}

type sharedServer struct {
	*Server
	users int
}

// stage is one contestant in one scenario.
type stage struct {
	index      int // in the scenario
	scenario   Scenario
	contestant Contestant
	measure    Measure
	server     *sharedServer // nil where nobody needs one
	bodies     *bodies
	duration   time.Duration

	system  System
	dir     string
	opened  int     // how often
	filled  int     // messages in the topic of a system that stays open
	groups  int     // made so far
	perSec  float64 // seen in the last round: sizes the next one
	settled bool    // the size is found
}

// round measures once. Round 0 warms up and finds the size.
func (s *stage) round(ctx context.Context, round int) (Sample, error) {
	if s.system == nil {
		if err := s.open(ctx); err != nil {
			return Sample{}, err
		}
	}
	runtime.GC() // Nobody pays for another one's garbage.
	sample, err := s.measured(ctx)
	sample.Round = round
	if !s.measure.keeps || !s.contestant.Redis { // Nor does anybody collect garbage among what another one keeps here.
		err = errors.Join(err, s.shut(ctx))
	}
	return sample, err
}

// measured measures once, while the server takes turns on the cores.
func (s *stage) measured(ctx context.Context) (sample Sample, err error) {
	if s.server != nil {
		end, turnErr := s.server.takeTurns(ctx, s.scenario.Apart)
		if turnErr != nil {
			return Sample{}, turnErr
		}
		defer func() { err = errors.Join(err, end()) }()
	}
	return s.measure.run(ctx, s)
}

func (s *stage) open(ctx context.Context) (err error) {
	if s.dir, err = os.MkdirTemp("", "events-bench-"); err != nil {
		return err
	}
	s.opened++
	s.system, err = s.contestant.Open(ctx, s.env())
	if err != nil {
		s.system = nil
		return errors.Join(fmt.Errorf("open: %w", err), os.RemoveAll(s.dir))
	}
	return nil
}

// env is what the contestant runs in; a child process opens the same.
func (s *stage) env() Env {
	e := Env{Topic: fmt.Sprintf("bench-%d-%d", s.index, s.opened), Dir: s.dir, Load: s.scenario.Load, Measure: s.scenario.Measure}
	if s.server != nil && s.contestant.Redis {
		e.Redis = s.server.Addr()
	}
	return e
}

// shut closes the system and removes what it has stored.
func (s *stage) shut(ctx context.Context) error {
	if s.system == nil {
		return nil
	}
	err := errors.Join(s.system.Close(), os.RemoveAll(s.dir))
	s.system, s.filled, s.groups = nil, 0, 0
	if s.server != nil && s.contestant.Redis && ctx.Err() == nil { // Others have nothing there.
		err = errors.Join(err, s.server.Flush(ctx))
	}
	return err
}

func (s *stage) close() error {
	ended, cancel := context.WithCancel(context.Background())
	cancel() // The server goes away with its data: no need to flush.
	err := s.shut(ended)
	if s.server != nil {
		if s.server.users--; s.server.users == 0 {
			err = errors.Join(err, s.server.Close())
		}
	}
	return err
}

func (s *stage) cpu(ctx context.Context) (cpu, error) {
	if s.server == nil {
		return usedCPU(ctx, nil)
	}
	return usedCPU(ctx, s.server.Server)
}
