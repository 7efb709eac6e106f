package router

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// outage is a handler of something that may be away.
type outage struct {
	away  atomic.Bool
	calls atomic.Int32
	err   error
}

func (o *outage) handle(*message.Message) error {
	o.calls.Add(1)
	if o.away.Load() {
		return o.err
	}
	return nil
}

func withSwitch(k KillSwitchConfig) func(*Config) {
	return func(c *Config) { c.Concurrency, c.KillSwitch = 1, k }
}

func TestKillSwitch(t *testing.T) {
	bubble(t, "opens when the ratio is reached, tries one message and goes on when that succeeds", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, withSwitch(KillSwitchConfig{FailureRatio: 0.5, MinCalls: 4, Probe: time.Minute}))
		shop := &outage{err: errBusy}
		handle(t, r, "a", shop.handle)
		for range 3 {
			f.deliver("a")
		}
		stop := start(t, r)
		synctest.Wait()
		shop.away.Store(true)
		for range 20 {
			f.deliver("a")
		}
		synctest.Wait()
		// 3 successes and 2 failures are no half; with the third they are.
		if s := r.Status(); shop.calls.Load() != 6 || s.Stats.Retried != 2 || s.Lanes[0].KillSwitch != SwitchOpen {
			t.Errorf("%d calls, status %+v", shop.calls.Load(), s)
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if s := r.Status(); shop.calls.Load() != 7 || s.Lanes[0].KillSwitch != SwitchOpen {
			t.Errorf("after a failed try: %d calls, status %+v", shop.calls.Load(), s)
		}
		shop.away.Store(false)
		<-time.After(time.Minute)
		synctest.Wait()
		if s := r.Status(); s.Stats.Acked != 21 || s.Lanes[0].KillSwitch != SwitchClosed {
			t.Errorf("after a good try: status %+v", s)
		}
		must(t, stop())
		for _, o := range f.settled() {
			if o.Delivery.Attempt != 1 {
				t.Errorf("attempt %d", o.Delivery.Attempt)
			}
		}
	})
	bubble(t, "P17: an error of an open circuit pauses the lane, and none becomes a dead letter", func(t *testing.T) {
		f := newFake()
		open := errors.New("circuit breaker is open")
		r := newRouter(t, f, withSwitch(KillSwitchConfig{FailureRatio: 1, OpenOn: func(err error) bool { return errors.Is(err, open) }}))
		// As a poison queue does, the middleware takes every error as final.
		r.Use(func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				out, err := next(msg)
				return out, events.Permanent(err)
			}
		})
		shop := &outage{err: open}
		shop.away.Store(true)
		handle(t, r, "a", shop.handle)
		for range 50 {
			f.deliver("a")
		}
		stop := start(t, r)
		<-time.After(10*time.Minute + time.Second) // between two tries
		if s := r.Status(); len(f.settled()) != 0 || shop.calls.Load() > 21 || s.Lanes[0].KillSwitch != SwitchOpen {
			t.Errorf("settled %d after %d calls, status %+v", len(f.settled()), shop.calls.Load(), s)
		}
		shop.away.Store(false)
		<-time.After(time.Minute)
		must(t, stop())
		if s := r.Stats(); s.Acked != 50 || s.DeadLettered != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "does not count what is the message's fault", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, withSwitch(KillSwitchConfig{FailureRatio: 0.1, MinCalls: 1}))
		must(t, Handle(r, "a", func(context.Context, events.Event[string]) error { return nil }))
		for range 5 {
			f.deliver("a")
		}
		stop := start(t, r)
		synctest.Wait()
		must(t, stop())
		if s := r.Status(); s.Stats.DeadLettered != 5 || s.Lanes[0].KillSwitch != SwitchClosed {
			t.Errorf("status %+v", s)
		}
	})
	bubble(t, "forgets failures older than its window", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, withSwitch(KillSwitchConfig{FailureRatio: 1, MinCalls: 3, Window: time.Minute}))
		handle(t, r, "a", func(*message.Message) error { return errBusy })
		stop := start(t, r)
		for range 5 {
			f.deliver("a", "a")
			<-time.After(2 * time.Minute)
		}
		if s := r.Status(); s.Lanes[0].KillSwitch != SwitchClosed || s.Stats.Retried != 10 {
			t.Errorf("status %+v", s)
		}
		f.deliver("a", "a", "a")
		synctest.Wait()
		if s := r.Status(); s.Lanes[0].KillSwitch != SwitchOpen {
			t.Errorf("status %+v", s)
		}
		must(t, stop())
		if o := f.settled(); o[len(o)-1].Settlement != transport.Release {
			t.Errorf("settled by %v", o[len(o)-1].Settlement)
		}
	})
	bubble(t, "of an ordered lane keeps the order", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		lane := ordered(t, r, func(c *LaneConfig) {
			c.Concurrency, c.KillSwitch = 1, KillSwitchConfig{FailureRatio: 1, MinCalls: 1, Probe: time.Second}
		})
		var done diary
		var away atomic.Bool
		away.Store(true)
		handle(t, lane, "order.*", func(msg *message.Message) error {
			if away.Load() {
				return errBusy
			}
			done.add(msg.UUID)
			return nil
		})
		for n := range 3 {
			f.in <- keyed("a", n+1)
			f.in <- keyed("b", n+1)
		}
		stop := start(t, r)
		<-time.After(10*time.Second + time.Millisecond)
		away.Store(false)
		<-time.After(10 * time.Second)
		must(t, stop())
		want(t, done.of("a"), "a/1", "a/2", "a/3")
		want(t, done.of("b"), "b/1", "b/2", "b/3")
		if s := r.Stats(); s.Acked != 6 || f.settled()[0].Delivery.Attempt != 1 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "is closed by Resume", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, withSwitch(KillSwitchConfig{FailureRatio: 1, MinCalls: 1, Probe: time.Hour}))
		shop := &outage{err: errBusy}
		shop.away.Store(true)
		handle(t, r, "a", shop.handle)
		f.deliver("a")
		stop := start(t, r)
		synctest.Wait()
		shop.away.Store(false)
		must(t, r.Resume(Scope{}))
		synctest.Wait()
		must(t, stop())
		if s := r.Stats(); s.Acked != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}
