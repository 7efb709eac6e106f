package middleware

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limiter hands out turns at a limited rate. It is safe for concurrent use.
// [LocalLimiter] is one for a process, transport/redis.Limiter one across processes.
type Limiter interface {
	// Take takes the next turn of key, if that comes within a time, and returns how long
	// until then: 0 for now. Otherwise it takes none, and returns false and how long
	// until it is worth asking again. Keys have their rates apart. A turn that was
	// taken and not used is lost. It returns an error, and no turn, when ctx ends.
	Take(ctx context.Context, key string, within time.Duration) (wait time.Duration, ok bool, err error)
}

// DefaultMaxLimiterKeys is the default of [LocalLimiterConfig.MaxKeys].
const DefaultMaxLimiterKeys = 100_000

// LocalLimiterConfig configures [NewLocalLimiter].
type LocalLimiterConfig struct {
	// Rate is how many turns a key has each second, at least 1e-9. Required.
	Rate float64
	// Burst is how many turns a key may have at once, after a time without any. Zero
	// means 1.
	Burst int
	// MaxKeys is how many keys are remembered; those that were not asked for lately are
	// forgotten first, and have a whole burst again. A key takes about 200 bytes. Zero
	// means DefaultMaxLimiterKeys, 100 000.
	MaxKeys int
}

// LocalLimiter is a [Limiter] of this process: a token bucket for each key, by
// golang.org/x/time/rate.
type LocalLimiter struct {
	cfg LocalLimiterConfig

	mu sync.Mutex
	// Two generations of half of MaxKeys each: what was asked for since the last change
	// of generations, and what was in the one before.
	young, old map[string]*rate.Limiter
}

// NewLocalLimiter returns a limiter, or a *events.ConfigError.
func NewLocalLimiter(cfg LocalLimiterConfig) (*LocalLimiter, error) {
	switch {
	case !(cfg.Rate >= 1e-9 && cfg.Rate <= 1e9): // NaN is neither.
		return nil, configError("LocalLimiterConfig.Rate", cfg.Rate, "is no number from 1e-9 to 1e9", "set it to how many turns there are each second")
	case cfg.Burst < 0:
		return nil, configError("LocalLimiterConfig.Burst", cfg.Burst, "is negative", "set it to a number of turns, or to 0 for 1")
	case cfg.MaxKeys < 0 || cfg.MaxKeys == 1:
		return nil, configError("LocalLimiterConfig.MaxKeys", cfg.MaxKeys, "is negative or 1", "set it to at least 2, or to 0 for 100000")
	}
	if cfg.Burst == 0 {
		cfg.Burst = 1
	}
	if cfg.MaxKeys == 0 {
		cfg.MaxKeys = DefaultMaxLimiterKeys
	}
	return &LocalLimiter{cfg: cfg, young: make(map[string]*rate.Limiter)}, nil
}

// Take implements [Limiter]. It waits for nothing, so ctx is not asked.
func (l *LocalLimiter) Take(_ context.Context, key string, within time.Duration) (wait time.Duration, ok bool, err error) {
	now := time.Now()
	r := l.of(key).ReserveN(now, 1)
	wait = r.DelayFrom(now)
	if wait > within {
		r.CancelAt(now)
		return wait, false, nil
	}
	return wait, true, nil
}

func (l *LocalLimiter) of(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if one := l.young[key]; one != nil {
		return one
	}
	one := l.old[key]
	if one == nil {
		one = rate.NewLimiter(rate.Limit(l.cfg.Rate), l.cfg.Burst)
	}
	if len(l.young) >= l.cfg.MaxKeys/2 {
		l.old, l.young = l.young, make(map[string]*rate.Limiter)
	}
	delete(l.old, key)
	l.young[key] = one
	return one
}

// Keys returns how many keys are remembered.
func (l *LocalLimiter) Keys() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.young) + len(l.old)
}
