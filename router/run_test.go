package router

import (
	"context"
	"errors"
	"math"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

func TestRun(t *testing.T) {
	bubble(t, "acks what the handler has handled and returns nil when its context ends", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		var got []string
		handle(t, r, "a.b", func(msg *message.Message) error { got = append(got, msg.UUID); return nil })
		stop := start(t, r)
		f.deliver("a.b")
		synctest.Wait()
		if s := r.Stats(); s.InFlight != 0 || s.Received != 1 || s.Acked != 1 {
			t.Errorf("stats %+v", s)
		}
		must(t, stop())
		if o := only(t, f); o.Settlement != transport.Ack || len(got) != 1 {
			t.Errorf("settled %v, handled %v", o.Settlement, got)
		}
		if f.closed != 1 {
			t.Errorf("receiver closed %d times", f.closed)
		}
	})
	bubble(t, "runs once", func(t *testing.T) {
		r := newRouter(t, newFake())
		must(t, start(t, r)())
		if err := r.Run(t.Context()); !errors.Is(err, ErrRunTwice) {
			t.Errorf("got %v", err)
		}
	})
	bubble(t, "runs no more handlers at a time than Concurrency and holds no more than Prefetch ready", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.Concurrency, c.Prefetch = 3, 2 })
		var now, most atomic.Int32
		handle(t, r, "a", func(*message.Message) error {
			most.Store(max(most.Load(), now.Add(1)))
			<-time.After(time.Second) // A handler at work, on synthetic time.
			now.Add(-1)
			return nil
		})
		for range 20 {
			f.deliver("a")
		}
		stop := start(t, r)
		synctest.Wait()
		if s := r.Stats(); s.Received != 5 || now.Load() != 3 {
			t.Errorf("received %d, want 5; running %d, want 3", s.Received, now.Load())
		}
		<-time.After(10 * time.Second)
		must(t, stop())
		if s := r.Stats(); s.Acked != 20 || most.Load() != 3 {
			t.Errorf("acked %d, want 20; at most %d at a time, want 3", s.Acked, most.Load())
		}
	})
	bubble(t, "settles in one call what is decided while another call is under way", func(t *testing.T) {
		f := newFake()
		f.block = make(chan struct{}, 100)
		r := newRouter(t, f)
		handle(t, r, "a", func(*message.Message) error { return nil })
		stop := start(t, r)
		f.deliver("a")
		synctest.Wait()
		for range 9 {
			f.deliver("a")
		}
		synctest.Wait()
		close(f.block)
		synctest.Wait()
		if f.calls != 2 || len(f.settled()) != 10 {
			t.Errorf("%d calls for %d outcomes, want 2 for 10", f.calls, len(f.settled()))
		}
		must(t, stop())
	})
	bubble(t, "drains and returns the error of a receiver that fails for good", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		handle(t, r, "a", func(*message.Message) error { <-time.After(time.Second); return nil })
		f.deliver("a")
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		synctest.Wait()
		f.fail <- events.ErrClosed
		if err := <-done; !errors.Is(err, events.ErrClosed) {
			t.Errorf("got %v", err)
		}
		if only(t, f).Settlement != transport.Ack || f.closed != 1 {
			t.Error("not drained")
		}
	})
	bubble(t, "counts and survives what cannot be settled", func(t *testing.T) {
		f := newFake()
		f.settleErr = func(o transport.Outcome) error {
			if o.Delivery.ID == "id-of-bad" {
				return errors.New("gone")
			}
			return nil
		}
		r := newRouter(t, f)
		must(t, r.Fallback(func(*message.Message) error { return nil }))
		stop := start(t, r)
		f.deliver("bad", "good")
		synctest.Wait()
		must(t, stop())
		if s := r.Stats(); s.Acked != 1 || s.Unsettled != 1 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "survives a handler that ends its goroutine", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.Concurrency = 1 })
		handle(t, r, "bad", func(*message.Message) error { runtime.Goexit(); return nil })
		handle(t, r, "good", func(*message.Message) error { return nil })
		f.deliver("bad", "good")
		stop := start(t, r)
		synctest.Wait()
		must(t, stop())
		if s := r.Stats(); s.Retried != 1 || s.Acked != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestDrain(t *testing.T) {
	bubble(t, "lets running handlers finish and releases what has not begun", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.Concurrency = 1 })
		handle(t, r, "a", func(msg *message.Message) error {
			<-time.After(29 * time.Second)
			return msg.Context().Err()
		})
		f.deliver("a", "unknown") // Not a dead letter while nobody looks.
		stop := start(t, r)
		synctest.Wait()
		begun := time.Now()
		must(t, stop())
		if took := time.Since(begun); took != 29*time.Second {
			t.Errorf("took %v, want 29s", took)
		}
		if s := r.Stats(); s.Acked != 1 || s.Released != 1 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "at the deadline ends contexts and releases without burning an attempt", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.DrainTimeout = 2 * time.Second })
		var cause error
		handle(t, r, "a", func(msg *message.Message) error {
			<-msg.Context().Done()
			cause = context.Cause(msg.Context())
			return msg.Context().Err()
		})
		f.deliver("a")
		stop := start(t, r)
		synctest.Wait()
		begun := time.Now()
		must(t, stop())
		if took := time.Since(begun); took != 2*time.Second || !errors.Is(cause, events.ErrReleased) {
			t.Errorf("took %v with cause %v", took, cause)
		}
		if o := only(t, f); o.Settlement != transport.Release {
			t.Errorf("settled by %v", o.Settlement)
		}
	})
	bubble(t, "takes any time for the longest DrainTimeout", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.DrainTimeout = math.MaxInt64 })
		handle(t, r, "a", func(msg *message.Message) error {
			<-time.After(1000 * time.Hour)
			return msg.Context().Err()
		})
		f.deliver("a")
		stop := start(t, r)
		synctest.Wait()
		must(t, stop())
		if o := only(t, f); o.Settlement != transport.Ack {
			t.Errorf("settled by %v", o.Settlement)
		}
	})
	bubble(t, "names handlers that ignore their context and leaves their deliveries unsettled", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.DrainTimeout = 10 * time.Second })
		free := make(chan struct{})
		handle(t, r, "stuck.*", func(*message.Message) error { <-free; return nil })
		handle(t, r, "fine", func(*message.Message) error { return nil })
		f.deliver("stuck.a", "fine")
		stop := start(t, r)
		synctest.Wait()
		begun := time.Now()
		err := stop()
		stuck, ok := errors.AsType[*StuckError](err)
		if !ok || len(stuck.Handlers) != 1 || stuck.Handlers[0] != (StuckHandler{"stuck.*", "topic", "id-of-stuck.a", "uuid-of-stuck.a"}) {
			t.Fatalf("got %v", err)
		}
		if !strings.Contains(err.Error(), "id-of-stuck.a") || time.Since(begun) != 11*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		if o := only(t, f); o.Delivery.ID != "id-of-fine" || f.closed != 1 {
			t.Errorf("settled %v, closed %d times", o, f.closed)
		}
		close(free)
		synctest.Wait()
		if len(f.settled()) != 1 {
			t.Error("settled after Run had returned")
		}
		if s := r.Stats(); s.Unsettled != 1 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "gives up settling when the server stays away", func(t *testing.T) {
		f := newFake()
		f.block = make(chan struct{})
		r := newRouter(t, f, func(c *Config) { c.Concurrency, c.DrainTimeout = 2, time.Second })
		must(t, r.Fallback(func(*message.Message) error { return nil }))
		for range 50 {
			f.deliver("a")
		}
		stop := start(t, r)
		synctest.Wait()
		begun := time.Now()
		must(t, stop())
		if took := time.Since(begun); took != 1250*time.Millisecond {
			t.Errorf("took %v", took)
		}
		if s := r.Stats(); s.Unsettled != s.Received || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}
