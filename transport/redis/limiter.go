package redis

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	goredis "github.com/redis/go-redis/v9"
)

//go:embed scripts/take.lua
var takeSource string

var takeScript = goredis.NewScript(takeSource)

// LimiterConfig configures [NewLimiter].
type LimiterConfig struct {
	// Client is the connection to Redis. Required; never closed here.
	Client goredis.UniversalClient
	// Rate is how many turns a key has each second, over all processes, from 1e-5 to
	// 1e6. Required.
	Rate float64
	// Burst is how many turns a key may have at once, after a time without any, up to a
	// million. Zero means 1.
	Burst int
	// KeyPrefix is put before each key. Limiters of one prefix share their keys' turns,
	// so they should have one rate. Empty means "rate:".
	KeyPrefix string
}

const defaultLimiterPrefix = "rate:"

// Limiter limits rates across processes, for the middleware RateLimit and Throttle: the
// generic cell rate algorithm (GCRA) in one script, and so one round trip a turn, by the
// server's clock, so that clocks of processes do not matter. A key that is not used
// expires. It is safe for concurrent use.
type Limiter struct {
	cfg   LimiterConfig
	cost  string // microseconds
	calls sync.WaitGroup

	mu    sync.Mutex
	ended bool
}

// NewLimiter returns a limiter, or a *events.ConfigError. It does no I/O.
func NewLimiter(cfg LimiterConfig) (*Limiter, error) {
	refuse := func(field string, value any, problem, remedy string) (*Limiter, error) {
		return nil, &events.ConfigError{Field: "redis.LimiterConfig." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	switch {
	case nilcheck.IsNil(cfg.Client):
		return refuse("Client", nil, "is nil", "pass a client, such as goredis.NewClient's")
	case !(cfg.Rate >= 1e-5 && cfg.Rate <= 1e6): // NaN is neither.
		return refuse("Rate", cfg.Rate, "is no number from 1e-5 to 1e6", "set it to how many turns there are each second")
	case cfg.Burst < 0 || cfg.Burst > 1e6:
		return refuse("Burst", cfg.Burst, "is negative or over a million", "set it to a number of turns, or to 0 for 1")
	}
	if cfg.Burst == 0 {
		cfg.Burst = 1
	}
	if cfg.KeyPrefix == "" {
		cfg.KeyPrefix = defaultLimiterPrefix
	}
	return &Limiter{cfg: cfg, cost: strconv.FormatFloat(1e6/cfg.Rate, 'f', 6, 64)}, nil
}

// Take takes the next turn of key, if that comes within a time, and returns how long
// until then. Otherwise it takes none, and returns false and how long until it is worth
// asking again. When ctx ends before the server has answered, the turn may be lost.
func (l *Limiter) Take(ctx context.Context, key string, within time.Duration) (wait time.Duration, ok bool, err error) {
	full := l.cfg.KeyPrefix + key
	var reply []int64
	call := func() (err error) {
		reply, err = takeScript.Run(ctx, l.cfg.Client, []string{full}, l.cost, l.cfg.Burst, max(within, 0).Microseconds()).Int64Slice()
		return err
	}
	if !l.begin() {
		return 0, false, fmt.Errorf("redis: limiter: take a turn of %q: %w", full, events.ErrClosed)
	}
	if err := awaited(ctx, call, l.calls.Done); err != nil {
		return 0, false, fmt.Errorf("redis: limiter: take a turn of %q: %w", full, explain(err, full))
	}
	if len(reply) != 2 {
		return 0, false, fmt.Errorf("redis: limiter: take a turn of %q: the server replied %v", full, reply)
	}
	return time.Duration(reply[1]) * time.Microsecond, reply[0] == 1, nil
}

func (l *Limiter) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	l.calls.Add(1)
	return true
}

// Close waits for calls that the client is still at though their contexts have ended:
// at most as long as the client's own time-outs. It does not close the client.
func (l *Limiter) Close() error {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.calls.Wait()
	return nil
}
