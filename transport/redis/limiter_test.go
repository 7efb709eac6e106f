package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

var _ middleware.Limiter = (*redis.Limiter)(nil)

func (f *fixture) limiter(cfg redis.LimiterConfig) *redis.Limiter {
	f.t.Helper()
	if cfg.Client == nil {
		cfg.Client = f.client
	}
	l, err := redis.NewLimiter(cfg)
	f.check(err)
	f.t.Cleanup(func() { f.check(l.Close()) })
	return l
}

func TestLimiterTakesNoMoreThanItsRate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const rate, burst = 200.0, 20
	begun := time.Now()
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 4 { // as if processes of their own
		l := f.limiter(redis.LimiterConfig{Rate: rate, Burst: burst})
		all.Go(func() {
			for time.Since(begun) < time.Second {
				if _, ok, err := l.Take(t.Context(), "k", 0); err != nil {
					t.Error(err)
					return
				} else if ok {
					taken.Add(1)
				}
			}
		})
	}
	all.Wait()
	// Where the machine is held up fewer are asked for.
	most := burst + rate*time.Since(begun).Seconds() + 1
	if got := float64(taken.Load()); got > most || got < burst+1 {
		t.Errorf("%v turns in %v, at most %v", got, time.Since(begun), most)
	}
}

func TestLimiterReservesTurnsToCome(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	l := f.limiter(redis.LimiterConfig{Rate: 0.1, Burst: 2, KeyPrefix: "p:"})
	take := func(key string, within time.Duration) (time.Duration, bool) {
		t.Helper()
		wait, ok, err := l.Take(t.Context(), key, within)
		f.check(err)
		return wait, ok
	}
	near := func(got, want time.Duration) bool { return got <= want && got > want-5*time.Second }
	for range 2 {
		if wait, ok := take("a", 0); !ok || wait != 0 {
			t.Errorf("burst: %v, %v", wait, ok)
		}
	}
	if wait, ok := take("a", 0); ok || !near(wait, 10*time.Second) {
		t.Errorf("over the burst: %v, %v", wait, ok)
	}
	if wait, ok := take("a", 10*time.Second); !ok || !near(wait, 10*time.Second) { // The one before took nothing.
		t.Errorf("reserved: %v, %v", wait, ok)
	}
	if wait, ok := take("a", math.MaxInt64); !ok || !near(wait, 20*time.Second) {
		t.Errorf("reserved behind: %v, %v", wait, ok)
	}
	if wait, ok := take("b", 0); !ok || wait != 0 {
		t.Errorf("another key: %v, %v", wait, ok)
	}
	if ttl := f.client.PTTL(t.Context(), "p:a").Val(); ttl <= 0 || ttl > 41*time.Second {
		t.Errorf("the key is kept for %v", ttl)
	}
}

func TestLimiterSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.check(f.client.HSet(t.Context(), "rate:hash", "a", "b").Err())
	f.check(f.client.Set(t.Context(), "rate:text", "no number", 0).Err())
	l := f.limiter(redis.LimiterConfig{Rate: 1})
	for key, want := range map[string]string{"hash": "rate:hash", "text": "rate:text"} {
		if _, ok, err := l.Take(t.Context(), key, 0); err == nil || ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", key, ok, err)
		}
	}
	f.check(l.Close())
	if _, _, err := l.Take(t.Context(), "k", 0); !errors.Is(err, events.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// A server that accepts and says nothing, to a client that does not keep to contexts.
func TestLimiterReturnsWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	client := goredis.NewClient(&goredis.Options{Addr: silent.Addr().String(), MaxRetries: -1, ReadTimeout: 2 * time.Second})
	l, err := redis.NewLimiter(redis.LimiterConfig{Client: client, Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, ok, err := l.Take(ctx, "k", 0)
	if took := time.Since(begun); ok || !errors.Is(err, context.DeadlineExceeded) || took > time.Second {
		t.Errorf("%v, %v after %v", ok, err, took)
	}
	if err := errors.Join(l.Close(), client.Close(), silent.Close()); err != nil {
		t.Error(err)
	}
}

func TestNewLimiterRefuses(t *testing.T) {
	client := goredis.NewClient(&goredis.Options{})
	defer func() { _ = client.Close() }()
	for _, cfg := range []redis.LimiterConfig{
		{Rate: 1}, {Client: (*goredis.Client)(nil), Rate: 1}, {Client: client}, {Client: client, Rate: -1},
		{Client: client, Rate: math.NaN()}, {Client: client, Rate: 1e7}, {Client: client, Rate: 1, Burst: -1}, {Client: client, Rate: 1, Burst: 1e6 + 1},
	} {
		_, err := redis.NewLimiter(cfg)
		if refused, ok := errors.AsType[*events.ConfigError](err); !ok || refused.Remedy == "" {
			t.Errorf("%s: %v", fmt.Sprintf("%+v", cfg), err)
		}
	}
}
