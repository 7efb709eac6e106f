package harness

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/logistically/events/internal/redisserver"
	"github.com/redis/go-redis/v9"
)

// Server is the private redis-server of one scenario, seen from outside.
type Server struct {
	process *redisserver.Server
	client  *redis.Client
}

// keepsMemory has the server's allocator (jemalloc, by the name of its prefix in Redis's
// own build, too) keep what is freed, in huge pages. A server that has run for
// a while has its memory. One that has just started, and is emptied each round, would
// ask the system for each page of it again, and be measured by what that costs: with
// some hypervisors more than all else.
var keepsMemory = []string{
	"MALLOC_CONF=" + allocator,
	"JE_MALLOC_CONF=" + allocator,
}

const allocator = "dirty_decay_ms:-1,muzzy_decay_ms:-1,thp:always"

// StartServer starts a redis-server that keeps its memory, and nothing on disk unless
// args say so.
func StartServer(ctx context.Context, args ...string) (*Server, error) {
	process, err := redisserver.StartEnv(ctx, keepsMemory, append([]string{"--appendonly", "no", "--disable-thp", "no"}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("start redis-server: %w", err)
	}
	return &Server{process, redis.NewClient(&redis.Options{Addr: process.Addr, PoolSize: 2})}, nil
}

// Addr is its host:port.
func (s *Server) Addr() string { return s.process.Addr }

// Close ends the process.
func (s *Server) Close() error {
	err := s.client.Close()
	if cerr := s.process.Close(); cerr != nil {
		return cerr
	}
	return err
}

// Flush removes everything, and returns when that is done. It is done beside the
// server's main thread: FLUSHALL SYNC would give the memory back to the system.
func (s *Server) Flush(ctx context.Context) error {
	if err := s.client.FlushAllAsync(ctx).Err(); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		left, err := s.number(ctx, "memory", "lazyfree_pending_objects")
		if left == 0 || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// takeTurns has the server on one core at a time, each in turn, until end is called.
func (s *Server) takeTurns(ctx context.Context, apart bool) (end func() error, err error) {
	pid, err := s.number(ctx, "server", "process_id")
	if err == nil {
		end, err = takeTurns(int(pid), apart)
	}
	if err != nil {
		return nil, fmt.Errorf("move the server to a core: %w", err)
	}
	return end, nil
}

// info returns one section of INFO (redis command INFO).
func (s *Server) info(ctx context.Context, section string) (map[string]string, error) {
	text, err := s.client.Info(ctx, section).Result()
	if err != nil {
		return nil, fmt.Errorf("ask redis-server for %s: %w", section, err)
	}
	values := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok {
			values[key] = value
		}
	}
	return values, nil
}

func (s *Server) number(ctx context.Context, section string, keys ...string) (sum float64, err error) {
	values, err := s.info(ctx, section)
	if err != nil {
		return 0, err
	}
	for _, key := range keys {
		n, err := strconv.ParseFloat(values[key], 64)
		if err != nil {
			return 0, fmt.Errorf("redis-server's %s: %w", key, err)
		}
		sum += n
	}
	return sum, nil
}

// cpu is the processor time in seconds that was used so far.
type cpu struct{ client, server float64 }

func (c cpu) since(before cpu) cpu { return cpu{c.client - before.client, c.server - before.server} }

// usedCPU asks the system for this process and its ended children, and the
// server for itself.
func usedCPU(ctx context.Context, s *Server) (used cpu, err error) {
	if s != nil {
		if used.server, err = s.number(ctx, "cpu", "used_cpu_sys", "used_cpu_user"); err != nil {
			return used, err
		}
	}
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			return used, fmt.Errorf("getrusage: %w", err)
		}
		used.client += float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
	}
	return used, nil
}
