package router

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// DefaultHealthTimeout is the default of [HealthConfig.Timeout].
const DefaultHealthTimeout = 2 * time.Second

// HealthConfig configures [Router.Health]. Its zero value looks at the router
// alone.
type HealthConfig struct {
	// MaxStall is for how long handlers may run with no delivery being settled:
	// then none of them returns any more, and the router counts as neither alive
	// nor ready. It must be well over what a handler and its retries in process
	// may take. It is measured from one probe to the next. A pause and an open
	// kill switch are no stall. Zero means no limit.
	MaxStall time.Duration
	// MaxInFlightAge is how long ago the oldest delivery that a handler runs for
	// may have arrived; over it the router is not ready. Zero means no limit.
	MaxInFlightAge time.Duration
	// Backlog returns for how long the oldest message has waited that the
	// consumer group has not settled, 0 if there is none. It is asked at each
	// probe for readiness, and must be safe for concurrent use and return when
	// its context ends. Nil means that nobody looks.
	Backlog func(ctx context.Context) (age time.Duration, err error)
	// MaxBacklogAge is the age of the backlog over which the router is not
	// ready. Where readiness also decides about HTTP traffic, remember that a
	// backlog is often that of all instances. It must be set with Backlog.
	MaxBacklogAge time.Duration
	// Checks are asked, one after the other, at each probe for readiness, by the
	// names under which the report shows their errors: that the transport's
	// server answers, say. They must be safe for concurrent use and return when
	// their context ends.
	Checks map[string]func(ctx context.Context) error
	// Timeout limits Backlog and Checks of one probe together. Zero means
	// DefaultHealthTimeout, 2 s.
	Timeout time.Duration
}

// Health answers probes about a router. Make it with [Router.Health]. It is safe
// for concurrent use, and costs nothing between probes.
type Health struct {
	router *Router
	cfg    HealthConfig

	mu      sync.Mutex
	settled int64     // at the last probe that saw progress
	since   time.Time // of that probe; zero if no handler runs
}

// Health returns a Health of the router, or a *events.ConfigError. It may be
// called before or after Run.
func (r *Router) Health(cfg HealthConfig) (*Health, error) {
	switch {
	case cfg.MaxStall < 0:
		return nil, configError("HealthConfig.MaxStall", cfg.MaxStall, "is negative", "set it to a duration, or to 0 for no limit")
	case cfg.MaxInFlightAge < 0:
		return nil, configError("HealthConfig.MaxInFlightAge", cfg.MaxInFlightAge, "is negative", "set it to a duration, or to 0 for no limit")
	case cfg.MaxBacklogAge < 0:
		return nil, configError("HealthConfig.MaxBacklogAge", cfg.MaxBacklogAge, "is negative", "set it to a duration")
	case (cfg.Backlog == nil) != (cfg.MaxBacklogAge == 0):
		return nil, configError("HealthConfig.MaxBacklogAge", cfg.MaxBacklogAge, "is set without Backlog, or Backlog without it", "set both or neither")
	case cfg.Timeout < 0:
		return nil, configError("HealthConfig.Timeout", cfg.Timeout, "is negative", "set it to a duration, or to 0 for 2 s")
	}
	cfg.Checks = maps.Clone(cfg.Checks)
	for name, check := range cfg.Checks {
		if check == nil {
			return nil, configError(fmt.Sprintf("HealthConfig.Checks[%q]", name), nil, "is nil", "set it to a function, or leave it out")
		}
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultHealthTimeout
	}
	return &Health{router: r, cfg: cfg}, nil
}

// HealthReport is the answer to a probe.
type HealthReport struct {
	// OK is the answer; if it is false, Problems say why.
	OK       bool     `json:"ok"`
	Problems []string `json:"problems,omitempty"`
	// State is what Run is at: "new" before it is called, "starting", "running",
	// "draining" once its context has ended, "stopped" when it has returned nil
	// and "failed" when it has returned an error.
	State string `json:"state"`
	Stats Stats  `json:"stats"`
	// Paused tells that the whole router is paused, which is no problem by itself.
	Paused bool `json:"paused"`
	// InFlightSeconds is how long ago the oldest delivery has arrived that a
	// handler runs for; 0 if none runs.
	InFlightSeconds float64 `json:"in_flight_seconds"`
	// StalledSeconds is for how long handlers have run and nothing was settled,
	// as far as probes have seen.
	StalledSeconds float64 `json:"stalled_seconds"`
	// BacklogSeconds is the age of the backlog, if somebody looks.
	BacklogSeconds *float64 `json:"backlog_seconds,omitempty"`
}

// StatusCode is 200 if the report is OK and 503 if not.
func (r *HealthReport) StatusCode() int {
	if r.OK {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

// Live answers whether a restart of the process would help: the report is not OK
// if Run has returned an error, or nothing in flight is settled for MaxStall. A
// server that is away, a backlog and a shutdown are no reasons to restart.
func (h *Health) Live() HealthReport {
	report, err := h.look()
	if err != nil {
		report.problem("Run has failed: %v", err)
	}
	report.OK = len(report.Problems) == 0
	return report
}

// Ready answers whether the router does its work. The report is not OK in any
// state but "running", nor for a reason that Live has, nor if a delivery is in
// flight for longer than MaxInFlightAge, nor if the backlog is older than
// MaxBacklogAge or cannot be told, nor if one of Checks fails.
func (h *Health) Ready(ctx context.Context) HealthReport {
	report, err := h.look()
	switch {
	case err != nil:
		report.problem("Run has failed: %v", err)
	case report.State != lifeRunning:
		report.problem("the router is not running: it is %s", report.State)
	}
	if most := h.cfg.MaxInFlightAge; most > 0 && report.InFlightSeconds > most.Seconds() {
		report.problem("a handler runs for a delivery that has arrived %.0f s ago, at most %v", report.InFlightSeconds, most)
	}
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Timeout)
	defer cancel()
	h.askBacklog(ctx, &report)
	for _, name := range slices.Sorted(maps.Keys(h.cfg.Checks)) {
		if err := protect(func() error { return h.cfg.Checks[name](ctx) }); err != nil {
			report.problem("%s: %v", name, err)
		}
	}
	report.OK = len(report.Problems) == 0
	return report
}

// look reports what the router itself says, and Run's error.
func (h *Health) look() (HealthReport, error) {
	state, err := h.router.life.state(h.router.running)
	status := h.router.Status()
	report := HealthReport{State: state, Stats: status.Stats, Paused: status.Paused}
	if state == lifeFailed || state == lifeStopped { // What is in flight is nobody's any more.
		return report, err
	}
	if !status.Oldest.IsZero() {
		report.InFlightSeconds = time.Since(status.Oldest).Seconds()
	}
	stalled := h.stalled(status)
	report.StalledSeconds = stalled.Seconds()
	if h.cfg.MaxStall > 0 && stalled > h.cfg.MaxStall {
		report.problem("handlers run and nothing was settled for %v, at most %v: they hang", stalled, h.cfg.MaxStall)
	}
	return report, err
}

// stalled returns for how long there was no progress, as far as probes can tell.
func (h *Health) stalled(s Status) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	settled := s.Stats.Received - s.Stats.InFlight
	switch {
	case s.Oldest.IsZero():
		h.since = time.Time{}
		return 0
	case h.since.IsZero() || settled != h.settled:
		h.since, h.settled = time.Now(), settled
		return 0
	}
	return time.Since(h.since)
}

func (h *Health) askBacklog(ctx context.Context, report *HealthReport) {
	if h.cfg.Backlog == nil {
		return
	}
	var age time.Duration
	err := protect(func() (err error) {
		age, err = h.cfg.Backlog(ctx)
		return err
	})
	if err != nil {
		report.problem("the age of the backlog cannot be told: %v", err)
		return
	}
	seconds := age.Seconds()
	report.BacklogSeconds = &seconds
	if age > h.cfg.MaxBacklogAge {
		report.problem("the oldest message waits for %v, at most %v: handle more at a time, or add instances", age, h.cfg.MaxBacklogAge)
	}
}

func (r *HealthReport) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// ServeLive is an http.HandlerFunc that answers with the report of [Health.Live]
// as JSON and its status code, 200 or 503: for Kubernetes' livenessProbe.
func (h *Health) ServeLive(w http.ResponseWriter, _ *http.Request) { h.serve(w, h.Live()) }

// ServeReady does the same with [Health.Ready]: for Kubernetes' readinessProbe.
func (h *Health) ServeReady(w http.ResponseWriter, req *http.Request) {
	h.serve(w, h.Ready(req.Context()))
}

func (h *Health) serve(w http.ResponseWriter, report HealthReport) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(report.StatusCode())
	if err := json.NewEncoder(w).Encode(report); err != nil {
		h.router.cfg.Logger.Warn("write the answer to a health probe", "error", err)
	}
}
