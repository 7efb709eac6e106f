package redis

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

var (
	//go:embed scripts/trim.lua
	trimSource string
	trimScript = goredis.NewScript(trimSource)
)

// TrimmerConfig configures [NewTrimmer].
type TrimmerConfig struct {
	// Client is the connection to Redis. Required; never closed here.
	Client goredis.UniversalClient
	// Topics are what is trimmed, by the same rules; topics with other groups or
	// other limits have a trimmer of their own. Dead letters are topics, too; see
	// [transport.DeadLetterTopic]. Required.
	Topics []string
	// Groups are the groups that each of the topics must have: as long as one of
	// them does not exist, nothing is removed. Groups that exist count whether
	// they are named here or not. None means that what no group waits for now is
	// waited for by nobody: a group that is created later, or again after it was
	// lost, does not find what was removed before.
	Groups []string
	// MaxLen is how many entries a topic keeps. Zero means any number. MaxLen,
	// MaxAge or both are required.
	MaxLen int64
	// MaxAge is how long a topic keeps an entry, in milliseconds of the server's
	// clock. Zero means for ever.
	MaxAge time.Duration
	// Interval is how often Run trims, give or take a quarter. Zero means 10 s.
	Interval time.Duration
	// StaleAfter is for how long entries must have waited for a group none of whose
	// consumers does anything (XINFO CONSUMERS) for it to be called stale. Zero
	// means 1 h.
	StaleAfter time.Duration
	// Stale is what becomes of the entries that only stale groups wait for. The
	// zero value keeps them.
	Stale StalePolicy
	// Logger gets stale groups, once each, and what fails. Nil means slog.Default().
	Logger *slog.Logger
}

// StalePolicy says whether a group that nobody works for keeps its entries from
// being removed.
type StalePolicy int

const (
	// HoldForStale keeps them: nothing is lost, and memory may run out.
	HoldForStale StalePolicy = iota
	// IgnoreStale trims as if the group were not there. It loses what was over
	// the limits.
	IgnoreStale
)

// Trimmer removes old entries from topics, and none that a group has still to read
// or to settle. What a group retries is a copy of its own and needs no entry of
// the topic. It is safe for concurrent use, and so are several trimmers of one topic.
type Trimmer struct {
	cfg TrimmerConfig

	mu    sync.Mutex
	known map[string]map[string]bool // by topic: stale groups that were logged
}

// TrimReport is what a trim has done to a topic.
type TrimReport struct {
	Topic string
	// Removed is by how many entries the stream has become shorter.
	Removed int64
	// Length is how many entries are left; none if the topic does not exist.
	Length int64
	// HeldBy is the group that keeps entries which are over a limit, the one that
	// is furthest behind; empty if none are.
	HeldBy string
	// Stale are the groups that hold entries and that nobody works for.
	Stale []StaleGroup
}

// StaleGroup is a group that entries wait for and nobody works for. A group that
// never read anything and has no consumers is none: it may be new.
type StaleGroup struct {
	Group string
	// Idle is the time since one of its consumers last did anything, or negative
	// if it has none. Before Redis 7.2 reading without result does not count.
	Idle time.Duration
	// Oldest is the id of the oldest entry that waits for it, Stored when that
	// was stored.
	Oldest string
	Stored time.Time
}

// NewTrimmer returns a Trimmer, or a *events.ConfigError. It does no I/O.
func NewTrimmer(cfg TrimmerConfig) (*Trimmer, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Interval == 0 {
		cfg.Interval = 10 * time.Second
	}
	if cfg.StaleAfter == 0 {
		cfg.StaleAfter = time.Hour
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Trimmer{cfg: cfg, known: map[string]map[string]bool{}}, nil
}

func (cfg *TrimmerConfig) check() error {
	bad := func(field string, value any, problem, remedy string) error {
		return &events.ConfigError{Field: "redis.TrimmerConfig." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	if nilcheck.IsNil(cfg.Client) {
		return bad("Client", nil, "is nil", "pass a client, such as goredis.NewClient's")
	}
	if err := transport.CheckTopics(cfg.Topics...); err != nil {
		return fmt.Errorf("redis.TrimmerConfig.Topics: %w", err)
	}
	for _, group := range cfg.Groups {
		if group == "" {
			return bad("Groups", cfg.Groups, "has an empty name", "name the groups, or leave them out")
		}
	}
	switch {
	case cfg.MaxLen < 0:
		return bad("MaxLen", cfg.MaxLen, "is negative", "set a number of entries, or 0 for any")
	case cfg.MaxAge != 0 && cfg.MaxAge < time.Millisecond:
		return bad("MaxAge", cfg.MaxAge, "is below 1 ms", "set a duration, or 0 for any age")
	case cfg.MaxLen == 0 && cfg.MaxAge == 0:
		return bad("MaxLen", cfg.MaxLen, "and MaxAge are both 0", "set one of them: without a limit nothing is removed")
	case cfg.Interval != 0 && cfg.Interval < 10*time.Millisecond:
		return bad("Interval", cfg.Interval, "is below 10 ms", "set a duration, or 0 for 10 s")
	case cfg.StaleAfter != 0 && cfg.StaleAfter < time.Millisecond:
		return bad("StaleAfter", cfg.StaleAfter, "is below 1 ms", "set a duration, or 0 for 1 h")
	case cfg.Stale != HoldForStale && cfg.Stale != IgnoreStale:
		return bad("Stale", cfg.Stale, "is no policy", "use HoldForStale or IgnoreStale")
	}
	return nil
}

// Run trims at once, and then at every interval until ctx ends; it returns nil
// then. What fails is logged, once until it works again, and tried again at the next
// interval; only a client that is closed ends Run with an error.
func (t *Trimmer) Run(ctx context.Context) error {
	for failing := false; ctx.Err() == nil; {
		_, err := t.Trim(ctx)
		switch {
		case ctx.Err() != nil:
		case errors.Is(err, goredis.ErrClosed):
			return err
		case err != nil && !failing:
			t.cfg.Logger.Error("redis: trimming failed, trying again until it works", "error", err)
		case err == nil && failing:
			t.cfg.Logger.Info("redis: trimming again")
		}
		failing = err != nil
		timer := time.NewTimer(t.cfg.Interval*3/4 + rand.N(t.cfg.Interval/2+1))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return nil
}

// Trim trims each topic once and reports on all of them, in the order of the
// configuration; a topic that does not exist has nothing to remove. The error
// joins those of the topics that could not be trimmed, or not to the end.
func (t *Trimmer) Trim(ctx context.Context) ([]TrimReport, error) {
	var failed error
	reports := make([]TrimReport, len(t.cfg.Topics))
	for i, topic := range t.cfg.Topics {
		var err error
		if reports[i], err = t.trim(ctx, topic); err != nil {
			failed = errors.Join(failed, fmt.Errorf("redis: trim %q: %w", topic, explain(err, topic)))
			continue
		}
		t.log(reports[i])
	}
	return reports, failed
}

// trimPage is how many entries one script removes at most: ten nodes of a stream as
// the server makes them by default, so that others do not wait.
const trimPage = 1000

// trim removes pages as long as they are full. What a publisher adds meanwhile
// does not keep it from ending: a page ends where the limits do.
func (t *Trimmer) trim(ctx context.Context, topic string) (TrimReport, error) {
	maxLen, maxAge := int64(-1), int64(-1)
	if t.cfg.MaxLen > 0 {
		maxLen = t.cfg.MaxLen
	}
	if t.cfg.MaxAge > 0 {
		maxAge = t.cfg.MaxAge.Milliseconds()
	}
	args := []any{maxLen, maxAge, trimPage, t.cfg.StaleAfter.Milliseconds(), t.cfg.Stale == IgnoreStale}
	for _, group := range t.cfg.Groups {
		args = append(args, group)
	}
	report := TrimReport{Topic: topic}
	for {
		if err := ctx.Err(); err != nil {
			return report, context.Cause(ctx)
		}
		reply, err := trimScript.Run(ctx, t.cfg.Client, []string{topic}, args...).Slice()
		if err != nil {
			return report, err
		}
		removed := report.read(row(reply))
		report.Removed += removed
		if removed < trimPage {
			return report, nil
		}
	}
}

// read takes what trim.lua returns.
func (r *TrimReport) read(reply row) (removed int64) {
	r.Length, r.HeldBy, r.Stale = reply.number(1), reply.text(2), nil
	stale := reply.row(3)
	for i := 0; i < len(stale); i += 3 {
		g := StaleGroup{Group: stale.text(i), Idle: milliseconds(stale.number(i + 1)), Oldest: stale.text(i + 2)}
		g.Stored = storedAt(g.Oldest)
		r.Stale = append(r.Stale, g)
	}
	return reply.number(0)
}

// log reports groups that have become stale since the last time.
func (t *Trimmer) log(r TrimReport) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, now := t.known[r.Topic], map[string]bool{}
	for _, g := range r.Stale {
		now[g.Group] = true
		if !before[g.Group] {
			t.cfg.Logger.Warn("redis: entries wait for a group that nobody works for: start it, destroy it (XGROUP DESTROY), or trim with IgnoreStale",
				"topic", r.Topic, "group", g.Group, "oldest", g.Oldest, "idle", g.Idle, "ignored", t.cfg.Stale == IgnoreStale)
		}
	}
	t.known[r.Topic] = now
}
