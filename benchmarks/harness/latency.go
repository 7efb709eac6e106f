package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// measureLatency publishes at fixed times, whatever becomes of the messages
// before (an open loop), and measures each one from the time at which it was due
// to be published until its handler runs: a stall is felt by all messages that
// it delays, none is left out.
func measureLatency(ctx context.Context, s *stage) (Sample, error) {
	load := s.scenario.Load
	total := max(int(float64(load.Rate)*s.duration.Seconds()), 10)
	every := time.Second / time.Duration(load.Rate)
	var began atomic.Pointer[time.Time]
	times := newHistogram()
	var mu sync.Mutex
	var connected sync.Once
	ready := make(chan struct{})
	all := newTally(0, total+1) // number 0 only tells that everything is connected
	running := s.consume(ctx, "latency", func(_ context.Context, body []byte) error {
		now := time.Now()
		n, err := number(body)
		start := began.Load()
		switch {
		case err != nil: // the tally says so
		case n == 0 && start == nil:
			connected.Do(func() { close(ready) })
		case start != nil:
			mu.Lock()
			record(times, now.Sub(start.Add(time.Duration(n)*every)))
			mu.Unlock()
		}
		all.add(body)
		return nil
	})
	sample, err := s.paced(ctx, total, every, &began, ready, running, all)
	if err = errors.Join(err, running.stop()); err != nil {
		return Sample{}, err
	}
	sample.Latency = percentiles(times)
	sample.Latency.Achieved = sample.Figure
	sample.Figure = sample.Latency.P50
	return sample, nil
}

// paced publishes total messages, one each interval, and waits for their handlers.
func (s *stage) paced(ctx context.Context, total int, every time.Duration, began *atomic.Pointer[time.Time], ready <-chan struct{}, running *consuming, all *tally) (Sample, error) {
	if err := s.system.Publish(ctx, s.bodies.page(0, 1)); err != nil {
		return Sample{}, fmt.Errorf("publish: %w", err)
	}
	select {
	case <-ready:
	case <-running.ended:
		return Sample{}, errors.New("consume ended by itself")
	case <-time.After(patience):
		return Sample{}, &LostError{Published: 1, Waited: patience}
	}
	before, err := s.cpu(ctx)
	if err != nil {
		return Sample{}, err
	}
	start := time.Now()
	began.Store(&start)
	var next atomic.Int64
	callers := max(s.scenario.Load.Callers, 1)
	failures := make(chan error, callers)
	for range callers {
		go func() { failures <- s.publishOnTime(ctx, &next, total, start, every) }()
	}
	for range callers {
		if failed := <-failures; failed != nil {
			err = failed
		}
	}
	if err == nil {
		err = running.await(ctx, all)
	}
	if err != nil {
		return Sample{}, err
	}
	after, err := s.cpu(ctx)
	if err != nil {
		return Sample{}, err
	}
	_, last, duplicates := all.span()
	used := after.since(before)
	took := last.Sub(start).Seconds()
	return Sample{Messages: total, Seconds: took, Figure: float64(total) / took, ClientCPU: used.client, ServerCPU: used.server, Duplicates: duplicates}, nil
}

// publishOnTime publishes each message when it is due, or at once if it is late.
func (s *stage) publishOnTime(ctx context.Context, next *atomic.Int64, total int, start time.Time, every time.Duration) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		n := int(next.Add(1))
		if n > total {
			return nil
		}
		body := s.bodies.page(n, n+1)
		if wait := time.Until(start.Add(time.Duration(n) * every)); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := s.system.Publish(ctx, body); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
}

// measureMixed publishes as fast as it goes while one group consumes, and then
// waits until everything is handled.
func measureMixed(ctx context.Context, s *stage) (Sample, error) {
	const most = 2_000_000
	load := s.scenario.Load
	all := newTally(0, most)
	running := s.consume(ctx, "mixed", func(_ context.Context, body []byte) error {
		all.add(body)
		return nil
	})
	before, err := s.cpu(ctx)
	if err != nil {
		return Sample{}, errors.Join(err, running.stop())
	}
	bulk := max(load.Bulk, 1)
	var next atomic.Int64
	start := time.Now()
	failures := make(chan error, max(load.Callers, 1))
	for range max(load.Callers, 1) {
		go func() {
			for ctx.Err() == nil && time.Since(start) < s.duration {
				first := int(next.Add(int64(bulk))) - bulk
				if err := s.system.Publish(ctx, s.bodies.page(first, first+bulk)); err != nil {
					failures <- fmt.Errorf("publish: %w", err)
					return
				}
			}
			failures <- ctx.Err()
		}()
	}
	for range max(load.Callers, 1) {
		if failed := <-failures; failed != nil {
			err = failed
		}
	}
	n := int(next.Load())
	all.expect(n)
	if err == nil {
		err = running.await(ctx, all)
	}
	after, cpuErr := s.cpu(ctx)
	if err = errors.Join(err, cpuErr, running.stop()); err != nil {
		return Sample{}, err
	}
	_, last, duplicates := all.span()
	used := after.since(before)
	took := last.Sub(start).Seconds()
	return Sample{Messages: n, Seconds: took, Figure: float64(n) / took, ClientCPU: used.client, ServerCPU: used.server, Duplicates: duplicates}, nil
}
