package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// idleTime is how long an idle consumer is watched.
const idleTime = 2 * time.Second

// measureIdle counts the commands that a consumer sends which gets nothing.
func measureIdle(ctx context.Context, s *stage) (Sample, error) {
	ready := make(chan struct{})
	var once sync.Once
	running := s.consume(ctx, "idle", func(context.Context, []byte) error {
		once.Do(func() { close(ready) })
		return nil
	})
	sample, err := s.watchIdle(ctx, ready)
	return sample, errors.Join(err, running.stop())
}

func (s *stage) watchIdle(ctx context.Context, ready <-chan struct{}) (Sample, error) {
	if err := s.system.Publish(ctx, s.bodies.page(0, 1)); err != nil {
		return Sample{}, fmt.Errorf("publish: %w", err)
	}
	select {
	case <-ready: // Everything is connected.
	case <-time.After(patience):
		return Sample{}, &LostError{Published: 1, Waited: patience}
	}
	pause := time.NewTimer(idleTime / 4) // What the one message led to is over then.
	defer pause.Stop()
	<-pause.C
	commands, before, err := s.commands(ctx)
	if err != nil {
		return Sample{}, err
	}
	start := time.Now()
	pause.Reset(idleTime)
	select {
	case <-pause.C:
	case <-ctx.Done():
		return Sample{}, ctx.Err()
	}
	later, after, err := s.commands(ctx)
	if err != nil {
		return Sample{}, err
	}
	took := time.Since(start).Seconds()
	used := after.since(before)
	const own = 2 // INFO stats after the first count, INFO cpu before the second
	return Sample{Seconds: took, Figure: max(later-commands-own, 0) / took, ClientCPU: used.client, ServerCPU: used.server}, nil
}

func (s *stage) commands(ctx context.Context) (float64, cpu, error) {
	used, err := s.cpu(ctx)
	if err != nil {
		return 0, cpu{}, err
	}
	n, err := s.server.number(ctx, "stats", "total_commands_processed")
	return n, used, err
}

// measureMemory holds many messages unacknowledged and looks at the memory of
// this process (heap and stacks in use) for each of them.
func measureMemory(ctx context.Context, s *stage) (Sample, error) {
	want := s.scenario.Load.InFlight
	if err := s.fill(ctx, 0, want); err != nil {
		return Sample{}, err
	}
	before := memoryInUse()
	var held atomic.Int64
	full, release := make(chan struct{}), make(chan struct{})
	running := s.consume(ctx, "memory", func(ctx context.Context, _ []byte) error {
		if held.Add(1) == int64(want) { // Nothing is redelivered: each is counted once.
			close(full)
		}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	var err error
	select {
	case <-full:
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(4 * patience):
		err = fmt.Errorf("only %d of %d messages are in flight", held.Load(), want)
	}
	used := memoryInUse() - before
	close(release)
	if err = errors.Join(err, running.stop()); err != nil {
		return Sample{}, err
	}
	return Sample{Messages: want, Figure: float64(used) / float64(want)}, nil
}

func memoryInUse() int64 {
	runtime.GC()
	runtime.GC() // What finalisers held is free after the second one.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// measureStored asks the server for its memory (INFO used_memory) per stored message.
func measureStored(ctx context.Context, s *stage) (Sample, error) {
	const n = 20_000
	before, err := s.server.number(ctx, "memory", "used_memory")
	if err != nil {
		return Sample{}, err
	}
	if err := s.fill(ctx, 0, n); err != nil {
		return Sample{}, err
	}
	after, err := s.server.number(ctx, "memory", "used_memory")
	if err != nil {
		return Sample{}, err
	}
	stored, err := s.system.Stored(ctx)
	if err != nil {
		return Sample{}, err
	}
	if stored != n {
		return Sample{}, &LostError{Published: n, Delivered: stored}
	}
	return Sample{Messages: n, Figure: (after - before) / n}, nil
}
