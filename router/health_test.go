package router

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// healthOf returns a Health of r whose configuration is right.
func healthOf(t *testing.T, r *Router, cfg HealthConfig) *Health {
	t.Helper()
	h, err := r.Health(cfg)
	must(t, err)
	return h
}

// expectHealth compares the state and the answers of both probes.
func expectHealth(t *testing.T, h *Health, state string, live, ready bool) {
	t.Helper()
	l, r := h.Live(), h.Ready(t.Context())
	if l.State != state || r.State != state || l.OK != live || r.OK != ready || l.OK != (len(l.Problems) == 0) || r.OK != (len(r.Problems) == 0) {
		t.Errorf("want %s, live %v, ready %v; live: %+v; ready: %+v", state, live, ready, l, r)
	}
}

func TestHealthFollowsRun(t *testing.T) {
	bubble(t, "to its end", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		h := healthOf(t, r, HealthConfig{})
		expectHealth(t, h, "new", true, false)
		goOn := make(chan struct{})
		handle(t, r, "a", func(*message.Message) error { <-goOn; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		f.deliver("a")
		synctest.Wait()
		expectHealth(t, h, "running", true, true)
		cancel()
		synctest.Wait()
		expectHealth(t, h, "draining", true, false)
		close(goOn)
		must(t, <-ended)
		expectHealth(t, h, "stopped", true, false)
		if err := r.Run(t.Context()); !errors.Is(err, ErrRunTwice) {
			t.Errorf("got %v", err)
		}
		expectHealth(t, h, "stopped", true, false)
	})
	bubble(t, "when it fails", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		h := healthOf(t, r, HealthConfig{})
		f.fail <- errors.New("the stream is of another type")
		if err := r.Run(t.Context()); err == nil {
			t.Error("Run returned nil")
		}
		expectHealth(t, h, "failed", false, false)
		for _, report := range []HealthReport{h.Live(), h.Ready(t.Context())} {
			if len(report.Problems) != 1 || !strings.Contains(report.Problems[0], "the stream is of another type") {
				t.Errorf("problems %q", report.Problems)
			}
		}
	})
	bubble(t, "when it refuses to start", func(t *testing.T) {
		r := newRouter(t, newFake())
		h := healthOf(t, r, HealthConfig{})
		_ = r.Fallback(nil)
		if err := r.Run(t.Context()); err == nil {
			t.Error("Run returned nil")
		}
		expectHealth(t, h, "failed", false, false)
	})
}

func TestHealthSeesThatHandlersHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		h := healthOf(t, r, HealthConfig{MaxStall: time.Minute})
		handle(t, r, "slow", func(*message.Message) error { <-time.After(40 * time.Second); return nil })
		hang := make(chan struct{})
		handle(t, r, "hangs", func(*message.Message) error { <-hang; return nil })
		stop := start(t, r)
		probe := func(every time.Duration, n int) (ok bool) {
			for range n {
				<-time.After(every)
				synctest.Wait()
				ok = h.Live().OK
			}
			return ok
		}
		if !probe(10*time.Minute, 2) {
			t.Error("idle for long counts as hanging")
		}
		f.deliver("hangs")
		for range 3 {
			f.deliver("slow")
			if !probe(50*time.Second, 1) {
				t.Error("hangs though one delivery in 50 s is settled")
			}
		}
		if probe(50*time.Second, 2) {
			t.Error("alive though nothing was settled for 100 s")
		}
		if report := h.Ready(t.Context()); report.OK || report.StalledSeconds != 100 || report.InFlightSeconds != 250 || report.Stats.InFlight != 1 {
			t.Errorf("got %+v", report)
		}
		close(hang)
		if !probe(time.Second, 1) {
			t.Error("hangs though all is settled")
		}
		must(t, stop())
	})
}

func TestHealthSeesWhatIsInFlightForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		h := healthOf(t, r, HealthConfig{MaxInFlightAge: time.Minute})
		hang := make(chan struct{})
		handle(t, r, "hangs", func(*message.Message) error { <-hang; return nil })
		stop := start(t, r)
		f.deliver("hangs")
		<-time.After(time.Minute)
		expectHealth(t, h, "running", true, true)
		<-time.After(time.Second)
		expectHealth(t, h, "running", true, false)
		close(hang)
		synctest.Wait()
		expectHealth(t, h, "running", true, true)
		must(t, stop())
	})
}

func TestHealthTakesAPauseForNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		h := healthOf(t, r, HealthConfig{MaxStall: time.Minute})
		handle(t, r, "a", func(*message.Message) error { return nil })
		must(t, r.Fallback(func(*message.Message) error { return nil }))
		stop := start(t, r)
		must(t, r.Pause(Scope{Pattern: "a"}))
		f.deliver("a")
		for range 3 {
			<-time.After(time.Minute)
			expectHealth(t, h, "running", true, true)
		}
		if s := r.Stats(); s.InFlight != 1 {
			t.Errorf("%+v", s)
		}
		must(t, stop())
	})
}

func TestHealthAsksForTheBacklogAndTheChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		age, backlogErr, checkErr := time.Duration(0), error(nil), error(nil)
		r := newRouter(t, newFake())
		h := healthOf(t, r, HealthConfig{
			Backlog:       func(context.Context) (time.Duration, error) { return age, backlogErr },
			MaxBacklogAge: time.Minute,
			Checks: map[string]func(context.Context) error{
				"redis": func(context.Context) error { return checkErr },
				"slow":  func(ctx context.Context) error { return slowly(ctx, time.Second) },
			},
		})
		stop := start(t, r)
		synctest.Wait()
		expectHealth(t, h, "running", true, true)
		expectProblem := func(want string) {
			t.Helper()
			report := h.Ready(t.Context())
			if report.OK || len(report.Problems) != 1 || !strings.Contains(report.Problems[0], want) {
				t.Errorf("got %+v, want %q", report, want)
			}
			if !h.Live().OK {
				t.Error("a restart would not help")
			}
		}
		age = 2 * time.Minute
		expectProblem("waits for 2m0s, at most 1m0s")
		age, backlogErr = 0, errors.New("connection refused")
		expectProblem("connection refused")
		backlogErr, checkErr = nil, errors.New("no route to host")
		expectProblem("redis: no route to host")
		checkErr = nil
		expectHealth(t, h, "running", true, true)
		must(t, stop())
	})
}

func slowly(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func TestHealthChecksHaveALimitAndMayPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRouter(t, newFake())
		h := healthOf(t, r, HealthConfig{Timeout: time.Second, Checks: map[string]func(context.Context) error{
			"panics": func(context.Context) error { panic("ouch") },
			"sleeps": func(ctx context.Context) error { return slowly(ctx, time.Hour) },
		}})
		stop := start(t, r)
		synctest.Wait()
		begun := time.Now()
		report := h.Ready(t.Context())
		if len(report.Problems) != 2 || !strings.Contains(report.Problems[0], "ouch") || !strings.Contains(report.Problems[1], "deadline") || time.Since(begun) != time.Second {
			t.Errorf("got %q after %v", report.Problems, time.Since(begun))
		}
		must(t, stop())
	})
}

func TestHealthIsServedAsJSON(t *testing.T) {
	r := newRouter(t, newFake())
	h := healthOf(t, r, HealthConfig{Backlog: func(context.Context) (time.Duration, error) { return 1500 * time.Millisecond, nil }, MaxBacklogAge: time.Minute})
	live, ready := httptest.NewRecorder(), httptest.NewRecorder()
	h.ServeLive(live, httptest.NewRequest("GET", "/live", nil))
	h.ServeReady(ready, httptest.NewRequest("GET", "/ready", nil))
	if live.Code != 200 || ready.Code != 503 || live.Header().Get("Content-Type") != "application/json" {
		t.Errorf("live %d, ready %d, %v", live.Code, ready.Code, live.Header())
	}
	var body map[string]any
	must(t, json.Unmarshal(ready.Body.Bytes(), &body))
	problems, _ := body["problems"].([]any)
	if body["ok"] != false || body["state"] != "new" || body["backlog_seconds"] != 1.5 || len(problems) != 1 || body["stats"] == nil {
		t.Errorf("got %s", ready.Body)
	}
}

func TestHealthRefusesAWrongConfiguration(t *testing.T) {
	backlog := func(context.Context) (time.Duration, error) { return 0, nil }
	for field, cfg := range map[string]HealthConfig{
		"router.HealthConfig.MaxStall":       {MaxStall: -1},
		"router.HealthConfig.MaxInFlightAge": {MaxInFlightAge: -1},
		"router.HealthConfig.MaxBacklogAge":  {Backlog: backlog},
		"router.HealthConfig.Timeout":        {Timeout: -1},
		`router.HealthConfig.Checks["x"]`:    {Checks: map[string]func(context.Context) error{"x": nil}},
	} {
		_, err := newRouter(t, newFake()).Health(cfg)
		if refused, ok := errors.AsType[*events.ConfigError](err); !ok || refused.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
	for _, cfg := range []HealthConfig{{MaxBacklogAge: time.Second}, {Backlog: backlog, MaxBacklogAge: -1}} {
		if _, err := newRouter(t, newFake()).Health(cfg); err == nil {
			t.Errorf("%v is not refused", cfg.MaxBacklogAge)
		}
	}
}
