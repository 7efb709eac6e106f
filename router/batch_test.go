package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// calls records what a batch handler is called with.
type calls struct {
	mu   sync.Mutex
	list [][]int
}

func (c *calls) add(evs []events.Event[body]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ns []int
	for _, ev := range evs {
		ns = append(ns, ev.Body.N)
	}
	slices.Sort(ns)
	c.list = append(c.list, ns)
}

func numbered(n int) *transport.Delivery {
	d := delivery("a")
	d.ID = fmt.Sprint(n)
	d.Message.Payload = fmt.Appendf(nil, `{"n":%d}`, n)
	return d
}

func settlements(f *fake) map[string]transport.Settlement {
	by := map[string]transport.Settlement{}
	for _, o := range f.settled() {
		by[o.Delivery.ID] = o.Settlement
	}
	return by
}

func runBatches(t *testing.T, cfg BatchConfig, n int, fn func(context.Context, []events.Event[body]) []error, mw ...message.HandlerMiddleware) (*fake, [][]int) {
	t.Helper()
	f := newFake()
	r := newRouter(t, f)
	var seen calls
	must(t, HandleBatch(r, "a", cfg, func(ctx context.Context, evs []events.Event[body]) []error {
		seen.add(evs)
		return fn(ctx, evs)
	}, mw...))
	for i := range n {
		f.in <- numbered(i)
	}
	stop := start(t, r)
	<-time.After(10 * time.Second)
	must(t, stop())
	return f, seen.list
}

func TestHandleBatch(t *testing.T) {
	fine := func(context.Context, []events.Event[body]) []error { return nil }
	bubble(t, "calls its handler when a batch is full, and after MaxWait", func(t *testing.T) {
		begun := time.Now()
		var at []time.Duration
		f, got := runBatches(t, BatchConfig{MaxSize: 4, MaxWait: time.Second}, 10, func(context.Context, []events.Event[body]) []error {
			at = append(at, time.Since(begun))
			return nil
		})
		if len(got) != 3 || len(got[0]) != 4 || len(got[1]) != 4 || len(got[2]) != 2 || at[1] != 0 || at[2] != time.Second {
			t.Errorf("batches %v at %v", got, at)
		}
		if len(f.settled()) != 10 {
			t.Errorf("settled %d", len(f.settled()))
		}
	})
	bubble(t, "settles each item by its own result", func(t *testing.T) {
		f, _ := runBatches(t, BatchConfig{MaxSize: 4}, 4, func(_ context.Context, evs []events.Event[body]) []error {
			errs := make([]error, len(evs))
			for i, ev := range evs {
				errs[i] = []error{nil, errBusy, events.Permanent(errBusy), events.Discard(errBusy)}[ev.Body.N]
			}
			return errs
		})
		got := settlements(f)
		if got["0"] != transport.Ack || got["1"] != transport.Retry || got["2"] != transport.DeadLetter || got["3"] != transport.Ack {
			t.Errorf("settled by %v", got)
		}
	})
	bubble(t, "keeps items that do not decode, or that a middleware refuses, out of the batch", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		var seen calls
		refuse := func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				if string(msg.Payload) == `{"n":2}` {
					return nil, events.Permanent(errBusy)
				}
				return next(msg)
			}
		}
		must(t, HandleBatch(r, "a", BatchConfig{MaxSize: 4}, func(_ context.Context, evs []events.Event[body]) []error {
			seen.add(evs)
			return nil
		}, refuse))
		broken := numbered(1)
		broken.Message.Payload = []byte("{")
		for _, d := range []*transport.Delivery{numbered(0), broken, numbered(2), numbered(3)} {
			f.in <- d
		}
		stop := start(t, r)
		<-time.After(time.Second)
		must(t, stop())
		got := settlements(f)
		if len(seen.list) != 1 || !slices.Equal(seen.list[0], []int{0, 3}) || got["0"] != transport.Ack || got["1"] != transport.DeadLetter || got["2"] != transport.DeadLetter || got["3"] != transport.Ack {
			t.Errorf("batches %v, settled by %v", seen.list, got)
		}
	})
	bubble(t, "tries items one by one after a panic, so that one of them does not take the others down", func(t *testing.T) {
		f, got := runBatches(t, BatchConfig{MaxSize: 3}, 3, func(_ context.Context, evs []events.Event[body]) []error {
			for _, ev := range evs {
				if ev.Body.N == 1 {
					panic("ouch")
				}
			}
			return nil
		})
		by := settlements(f)
		if len(got) != 4 || by["0"] != transport.Ack || by["1"] != transport.Retry || by["2"] != transport.Ack {
			t.Errorf("calls %v, settled by %v", got, by)
		}
	})
	bubble(t, "fails all items for a result of another length", func(t *testing.T) {
		f, _ := runBatches(t, BatchConfig{MaxSize: 2}, 2, func(context.Context, []events.Event[body]) []error { return make([]error, 5) })
		for _, o := range f.settled() {
			if o.Settlement != transport.Retry {
				t.Errorf("settled by %v", o.Settlement)
			}
		}
	})
	bubble(t, "makes as many calls at a time as Concurrency", func(t *testing.T) {
		begun := time.Now()
		var mu sync.Mutex
		var ends []time.Duration
		runBatches(t, BatchConfig{MaxSize: 2, Concurrency: 2}, 8, func(context.Context, []events.Event[body]) []error {
			<-time.After(time.Second)
			mu.Lock()
			defer mu.Unlock()
			ends = append(ends, time.Since(begun))
			return nil
		})
		if !slices.Equal(ends, []time.Duration{time.Second, time.Second, 2 * time.Second, 2 * time.Second}) {
			t.Errorf("calls ended at %v", ends)
		}
	})
	bubble(t, "ends the context of a call at the drain deadline and releases its items", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.DrainTimeout = time.Second })
		must(t, HandleBatch(r, "a", BatchConfig{MaxSize: 2}, func(ctx context.Context, evs []events.Event[body]) []error {
			<-ctx.Done()
			return []error{context.Cause(ctx), context.Cause(ctx)}
		}))
		f.in <- numbered(0)
		f.in <- numbered(1)
		stop := start(t, r)
		synctest.Wait()
		must(t, stop())
		if s := r.Stats(); s.Released != 2 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "does not end a call because the lease of one item is lost", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		must(t, HandleBatch(r, "a", BatchConfig{MaxSize: 2}, func(ctx context.Context, _ []events.Event[body]) []error {
			select {
			case <-ctx.Done():
				return []error{ctx.Err(), ctx.Err()}
			case <-time.After(time.Minute):
				return nil
			}
		}))
		lost := numbered(0)
		ctx, lose := contextWithCause(t)
		lost.Message.SetContext(ctx)
		f.in <- lost
		f.in <- numbered(1)
		stop := start(t, r)
		synctest.Wait()
		lose(transport.ErrLeaseLost)
		<-time.After(2 * time.Minute)
		must(t, stop())
		if s := r.Stats(); s.Acked != 1 || s.LeaseLost != 1 {
			t.Errorf("stats %+v", s)
		}
	})
	t.Run("refuses what is wrong", func(t *testing.T) {
		r := newRouter(t, newFake())
		small, err := r.Lane(LaneConfig{Name: "small", Concurrency: 2})
		must(t, err)
		wantConfigError(t, HandleBatch(r, "a", BatchConfig{MaxSize: -1}, fine))
		wantConfigError(t, HandleBatch(r, "a", BatchConfig{MaxWait: -1}, fine))
		wantConfigError(t, HandleBatch(r, "a", BatchConfig{Concurrency: -1}, fine))
		wantConfigError(t, HandleBatch(small, "a", BatchConfig{MaxSize: 3}, fine))
		wantConfigError(t, HandleBatch[body](r, "a", BatchConfig{}, nil))
		if err := r.Run(t.Context()); err == nil || errors.Is(err, ErrRunTwice) {
			t.Errorf("Run returned %v", err)
		}
	})
}
