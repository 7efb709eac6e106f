package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// pages returns what callers publish, again and again: made beforehand, so that
// making bodies is not measured.
func (s *stage) pages() [][][]byte {
	bulk := max(s.scenario.Load.Bulk, 1)
	size := max(s.scenario.Load.Body, 1)
	if s.scenario.Load.Webhooks {
		size = 10 << 10
	}
	count := min(max((32<<20)/(size*bulk), 8), 1024)
	pages := make([][][]byte, count)
	for i := range pages {
		pages[i] = s.bodies.page(i*bulk, (i+1)*bulk)
	}
	return pages
}

// measurePublish lets callers publish, each its next call when the last one has
// returned, and compares what was acknowledged with what is stored. A first call
// of each is not measured, since it makes a connection. Its latency is that of the
// calls.
func measurePublish(ctx context.Context, s *stage) (Sample, error) {
	if external, ok := s.system.(External); ok {
		return measureExternal(ctx, s, external)
	}
	pages := s.pages()
	callers := max(s.scenario.Load.Callers, 1)
	if err := s.warmUp(ctx, pages, callers); err != nil {
		return Sample{}, err
	}
	before, err := s.cpu(ctx)
	if err != nil {
		return Sample{}, err
	}
	var acknowledged atomic.Int64
	times := make([]*hdrhistogram.Histogram, callers)
	failures := make([]error, callers)
	start := time.Now()
	deadline := start.Add(s.duration)
	var running sync.WaitGroup
	for c := range callers {
		times[c] = newHistogram()
		running.Go(func() {
			for i := c; ctx.Err() == nil; i += callers {
				began := time.Now()
				if began.After(deadline) {
					return
				}
				page := pages[i%len(pages)]
				if failures[c] = s.system.Publish(ctx, page); failures[c] != nil {
					return
				}
				acknowledged.Add(int64(len(page)))
				record(times[c], time.Since(began))
			}
		})
	}
	running.Wait()
	if err := s.flush(ctx); err != nil {
		return Sample{}, err
	}
	took := time.Since(start)
	after, err := s.cpu(ctx)
	if err != nil {
		return Sample{}, err
	}
	for c := range failures {
		if failures[c] != nil {
			return Sample{}, fmt.Errorf("publish: %w", failures[c])
		}
		times[0].Merge(times[c])
	}
	stored, err := s.system.Stored(ctx)
	if err != nil {
		return Sample{}, fmt.Errorf("count what is stored: %w", err)
	}
	n := int(acknowledged.Load())
	if all := n + callers*len(pages[0]); stored != all {
		return Sample{}, fmt.Errorf("%d messages were acknowledged and %d are stored", all, stored)
	}
	used := after.since(before)
	latency := percentiles(times[0])
	latency.Achieved = float64(n) / took.Seconds()
	return Sample{Messages: n, Seconds: took.Seconds(), Figure: latency.Achieved, ClientCPU: used.client, ServerCPU: used.server, Latency: latency}, nil
}

// warmUp lets each caller publish a page.
func (s *stage) warmUp(ctx context.Context, pages [][][]byte, callers int) error {
	failures := make([]error, callers)
	var running sync.WaitGroup
	for c := range callers {
		running.Go(func() { failures[c] = s.system.Publish(ctx, pages[c%len(pages)]) })
	}
	running.Wait()
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return s.flush(ctx)
}

// flush waits until what a System has taken is stored.
func (s *stage) flush(ctx context.Context) error {
	if flusher, ok := s.system.(Flusher); ok {
		if err := flusher.Flush(ctx); err != nil {
			return fmt.Errorf("flush: %w", err)
		}
	}
	return nil
}

// measureExternal lets another program measure itself.
func measureExternal(ctx context.Context, s *stage, external External) (Sample, error) {
	before, err := s.cpu(ctx)
	if err != nil {
		return Sample{}, err
	}
	n, seconds, err := external.Measure(ctx, s.scenario.Measure)
	if err != nil {
		return Sample{}, err
	}
	after, err := s.cpu(ctx)
	if err != nil {
		return Sample{}, err
	}
	used := after.since(before)
	return Sample{Messages: n, Seconds: seconds, Figure: float64(n) / seconds, ClientCPU: used.client, ServerCPU: used.server}, nil
}

// fill stores the messages numbered from..to-1. Its samples in a processor
// profile carry a label, so that they can be left out.
func (s *stage) fill(ctx context.Context, from, to int) (err error) {
	pprof.Do(ctx, pprof.Labels("phase", "fill"), func(ctx context.Context) { err = s.store(ctx, from, to) })
	return err
}

func (s *stage) store(ctx context.Context, from, to int) error {
	const fillers = 4
	size := max(s.scenario.Load.Body, 10<<10)
	bulk := min(max((4<<20)/size, 1), max(s.scenario.Load.Bulk, 100))
	var next atomic.Int64
	next.Store(int64(from))
	failures := make(chan error, fillers)
	for range fillers {
		go func() {
			for ctx.Err() == nil {
				first := int(next.Add(int64(bulk))) - bulk
				if first >= to {
					break
				}
				if err := s.system.Publish(ctx, s.bodies.page(first, min(first+bulk, to))); err != nil {
					failures <- fmt.Errorf("fill: %w", err)
					return
				}
			}
			failures <- ctx.Err()
		}()
	}
	var failed error
	for range fillers {
		if err := <-failures; failed == nil {
			failed = err
		}
	}
	return failed
}

// newHistogram counts microseconds up to two minutes, to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 120_000_000, 3) }

func record(h *hdrhistogram.Histogram, d time.Duration) {
	// Out of range is impossible: a longer wait has ended the measurement.
	_ = h.RecordValue(min(max(d.Microseconds(), 1), 120_000_000))
}

func percentiles(h *hdrhistogram.Histogram) *Latency {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return &Latency{
		P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)), P99: ms(h.ValueAtQuantile(99)),
		P999: ms(h.ValueAtQuantile(99.9)), Max: ms(h.Max()),
	}
}
