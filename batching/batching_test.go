package batching_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/batching"
)

func TestABatchGoesOutWhenItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cfg := range []batching.Config{{Mode: batching.Buffered, MaxSize: 2}, {Mode: batching.Buffered, MaxBytes: 20}} {
			out := &target{}
			p := newPublisher(t, out, cfg)
			check(t, p.Publish("t", msg("1", "a"), msg("2", "a"), msg("3", "a")))
			synctest.Wait()
			expect(t, out, []string{"1", "2"})
			check(t, p.Close())
			expect(t, out, []string{"1", "2"}, []string{"3"})
		}
	})
}

func TestABatchGoesOutMaxWaitAfterItsFirstMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered})
		check(t, p.Publish("t", msg("1", "a")))
		<-time.After(900 * time.Millisecond)
		check(t, p.Publish("t", msg("2", "a")))
		<-time.After(99 * time.Millisecond)
		synctest.Wait()
		expect(t, out)
		<-time.After(time.Millisecond)
		synctest.Wait()
		expect(t, out, []string{"1", "2"})
		if stats := p.MemoryStats(); stats != (batching.MemoryStats{}) {
			t.Errorf("something is held after all went out: %+v", stats)
		}
		check(t, p.Close())
	})
}

// A batch may fill at the moment its timer goes off, which then finds another
// batch in its place.
func TestATimerThatComesLateChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxSize: 2})
		check(t, p.Publish("t", msg("1", "a"), msg("2", "a")))
		synctest.Wait()
		check(t, p.Publish("t", msg("3", "a")))
		p.LateTimer()
		synctest.Wait()
		expect(t, out, []string{"1", "2"})
		if stats := p.MemoryStats(); stats.Queues != 1 || stats.Messages != 1 {
			t.Errorf("held %+v, want the third message", stats)
		}
		<-time.After(time.Second)
		synctest.Wait()
		expect(t, out, []string{"1", "2"}, []string{"3"})
		check(t, p.Close())
	})
}

func TestAtMostOneBatchOfANameIsUnderWayHoweverTimersAndFullBatchesMeet(t *testing.T) {
	for range 500 {
		var published, active, most atomic.Int64
		out := &target{fail: func(_ string, msgs []*message.Message) error {
			if n := active.Add(1); n > most.Load() {
				most.Store(n)
			}
			runtime.Gosched()
			active.Add(-1)
			published.Add(int64(len(msgs)))
			return nil
		}}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxSize: 2, MaxWait: 20 * time.Microsecond})
		m := msg("1", "a")
		var callers sync.WaitGroup
		for range 8 {
			callers.Go(func() {
				for range 20 {
					if err := p.Publish("t", m); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		check(t, p.Close())
		if published.Load() != 160 || most.Load() != 1 {
			t.Fatalf("%d of 160 messages published at Close, %d batches of one name at a time", published.Load(), most.Load())
		}
	}
}

func TestBatchesBeyondTheLimitWaitAndNoneIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		out.fail = func(string, []*message.Message) error { <-time.After(time.Second); return nil }
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxSize: 1, MaxConcurrentBatches: 2})
		for i := range 6 {
			check(t, p.Publish("t", msg(fmt.Sprint(i), fmt.Sprint("type", i))))
		}
		for round := 1; round <= 3; round++ {
			synctest.Wait()
			if got := len(out.got()); got != 2*round || p.MemoryStats().ActiveBatches != 2 {
				t.Errorf("second %d: %d batches begun, %+v", round, got, p.MemoryStats())
			}
			<-time.After(time.Second)
		}
		check(t, p.Close())
	})
}

func TestANilPublisherIsRefused(t *testing.T) {
	for _, next := range []message.Publisher{nil, (*target)(nil)} {
		if _, err := batching.NewPublisher(next, batching.Config{}); err == nil {
			t.Errorf("%#v is accepted", next)
		}
	}
}
