package batching_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/internal/measure"
)

// discard is a publisher that does nothing.
type discard struct{}

func (discard) Publish(string, ...*message.Message) error { return nil }
func (discard) Close() error                              { return nil }

// BenchmarkBuffered is how fast messages get through: callers wait for room.
func BenchmarkBuffered(b *testing.B) { benchmarkCallers(b, batching.Buffered) }

// BenchmarkWait is how long a caller waits, divided by the number of callers.
func BenchmarkWait(b *testing.B) { benchmarkCallers(b, batching.Wait) }

func benchmarkCallers(b *testing.B, mode batching.Mode) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			p := newPublisher(b, discard{}, batching.Config{Mode: mode})
			b.ResetTimer()
			publishBy(b, p, n)
			check(b, p.Close())
		})
	}
}

// publishBy has callers publish b.N messages of one batch between them: b.Loop
// is for one goroutine.
func publishBy(b *testing.B, p *batching.Publisher, callers int) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var running sync.WaitGroup
	for i := range callers {
		m := msg(fmt.Sprint(i), "order.placed")
		running.Go(func() {
			for left.Add(-1) >= 0 {
				if err := p.Publish("t", m); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
}

// fullBatch publishes as many messages as a batch has, and waits for it.
func fullBatch(tb testing.TB, m *message.Message) measure.Operation {
	p := newPublisher(tb, discard{}, batching.Config{Mode: batching.Buffered, MaxSize: 100, MaxWait: time.Hour})
	tb.Cleanup(func() { check(tb, p.Close()) })
	ctx := tb.Context()
	return func() error {
		for range 100 {
			if err := p.Publish("t", m); err != nil {
				return err
			}
		}
		return p.Flush(ctx)
	}
}

func waitForOne(tb testing.TB) measure.Operation {
	p := newPublisher(tb, discard{}, batching.Config{Mode: batching.Wait})
	tb.Cleanup(func() { check(tb, p.Close()) })
	m := msg("1", "order.placed")
	return func() error { return p.Publish("t", m) }
}

// BenchmarkBatch is a batch of 100 from the first message until it has gone out.
func BenchmarkBatch(b *testing.B) { measure.Benchmark(b, fullBatch(b, msg("1", "order.placed"))) }
