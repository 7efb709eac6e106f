package redis

import (
	"context"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// sharer lets commands of concurrent callers share round trips. A few flights are
// under way at a time; commands that come meanwhile leave together with the next
// one. So nobody waits for a time to pass, and groups are as large as the server is
// slow. It has no goroutine: the caller who was first in a group sends it.
type sharer struct {
	client  goredis.UniversalClient
	mu      sync.Mutex
	flights int    // under way, or called
	waiting *group // for a flight
}

// mostFlights is how many groups, or single commands, are under way at a time: with
// one the server would wait while replies are read, with many the groups are small.
const mostFlights = 3

// group is commands that go out in one pipeline.
type group struct {
	cmds   []goredis.Cmder
	called bool          // a flight is free for it: it leaves as soon as its first caller runs
	start  chan struct{} // closed then
	done   chan struct{} // closed when all have their replies
	err    error
}

// Process sends one command and waits for its reply.
func (s *sharer) Process(ctx context.Context, cmd goredis.Cmder) error {
	s.mu.Lock()
	if s.flights < mostFlights {
		s.flights++
		s.mu.Unlock()
		defer s.land()
		return s.client.Process(ctx, cmd)
	}
	g := s.waiting
	first := g == nil
	if first {
		g = &group{start: make(chan struct{}), done: make(chan struct{})}
		s.waiting = g
	}
	g.cmds = append(g.cmds, cmd)
	s.mu.Unlock()
	if !first {
		<-g.done
		return g.err
	}
	<-g.start
	s.mu.Lock()
	s.waiting = nil
	s.mu.Unlock()
	defer s.land()
	defer close(g.done)
	if len(g.cmds) == 1 {
		return s.client.Process(ctx, cmd)
	}
	ctx = context.WithoutCancel(ctx) // It is not that of the others.
	pipe := s.client.Pipeline()
	if g.err = pipe.BatchProcess(ctx, g.cmds...); g.err == nil {
		_, g.err = pipe.Exec(ctx)
	}
	return g.err
}

// land hands a flight on to those who wait for one.
func (s *sharer) land() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.waiting; g != nil && !g.called {
		g.called = true
		close(g.start)
		return
	}
	s.flights--
}
