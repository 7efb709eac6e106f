package router

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// ignoresItsContext is a handler that hangs until free is closed, for messages of type "stuck".
func ignoresItsContext(free <-chan struct{}) message.NoPublishHandlerFunc {
	return func(msg *message.Message) error {
		if typeOf(msg, "") == "stuck" {
			<-free
		}
		return nil
	}
}

func TestP20_StuckHandler(t *testing.T) {
	limits := func(c *Config) { c.Concurrency, c.HandlerTimeout, c.StuckGrace = 1, time.Minute, 8*time.Second }
	bubble(t, "loses its slot, its delivery is retried, and its stack is logged", func(t *testing.T) {
		f := newFake()
		var log bytes.Buffer
		r := newRouter(t, f, limits, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		free := make(chan struct{})
		must(t, r.Fallback(ignoresItsContext(free)))
		f.deliver("stuck", "fine")
		stop := start(t, r)
		<-time.After(time.Minute + 7*time.Second)
		if len(f.settled()) != 0 {
			t.Fatalf("settled %v before its grace has passed", f.settled())
		}
		<-time.After(5 * time.Second)
		synctest.Wait()
		s := r.Status()
		if s.Stats.Retried != 1 || s.Stats.Acked != 1 || s.Lanes[0].Running != 0 || len(s.Lanes[0].Stuck) != 1 || s.Handlers[0].Stuck != 1 {
			t.Errorf("status %+v", s)
		}
		for _, o := range f.settled() {
			if o.Delivery.ID == "id-of-stuck" && (!errors.Is(o.Cause, ErrStuck) || !errors.Is(o.Cause, ErrHandlerTimeout)) {
				t.Errorf("cause %v", o.Cause)
			}
		}
		if text := log.String(); !strings.Contains(text, "ignoresItsContext") || strings.Contains(text, "testing.tRunner") {
			t.Errorf("logged %s", text)
		}
		close(free)
		synctest.Wait()
		if s := r.Status(); len(s.Lanes[0].Stuck) != 0 || !strings.Contains(log.String(), "a stuck handler has returned") {
			t.Errorf("status %+v", s)
		}
		must(t, stop())
		if len(f.settled()) != 2 {
			t.Errorf("settled %v", f.settled())
		}
	})
	bubble(t, "of an ordered lane keeps its key waiting, and no other", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, limits)
		free := make(chan struct{})
		var done diary
		handle(t, ordered(t, r), "order.*", func(msg *message.Message) error {
			if msg.UUID == "a/1" {
				<-free
			}
			done.add(msg.UUID)
			return nil
		})
		for n := range 2 {
			f.in <- keyed("a", n+1)
			f.in <- keyed("b", n+1)
		}
		stop := start(t, r)
		<-time.After(10 * time.Minute)
		want(t, done.all(), "b/1", "b/2")
		if s := r.Status(); len(s.Lanes[1].Stuck) != 1 || s.Lanes[1].Waiting != 1 {
			t.Errorf("status %+v", s)
		}
		close(free)
		synctest.Wait()
		want(t, outcomesOf(f, "a"), "a/1 ack", "a/2 ack")
		must(t, stop())
	})
	bubble(t, "is found when its lease is lost, too, and settles nothing then", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.Concurrency = 1 })
		free := make(chan struct{})
		must(t, r.Fallback(ignoresItsContext(free)))
		d := delivery("stuck")
		ctx, lose := contextWithCause(t)
		d.Message.SetContext(ctx)
		f.in <- d
		f.deliver("fine")
		stop := start(t, r)
		synctest.Wait()
		lose(transport.ErrLeaseLost)
		<-time.After(time.Minute)
		if s := r.Stats(); s.LeaseLost != 1 || s.Acked != 1 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
		close(free)
		synctest.Wait()
		must(t, stop())
	})
	bubble(t, "is named by Run if it has still not returned", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, limits)
		free := make(chan struct{})
		must(t, r.Fallback(ignoresItsContext(free)))
		f.deliver("stuck")
		stop := start(t, r)
		<-time.After(2 * time.Minute)
		begun := time.Now()
		stuck, ok := errors.AsType[*StuckError](stop())
		if !ok || len(stuck.Handlers) != 1 || time.Since(begun) != 0 {
			t.Errorf("got %v after %s", stuck, time.Since(begun))
		}
		close(free)
		synctest.Wait()
		if s := r.Stats(); s.Retried != 1 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "frees no more slots than the lane has", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, limits)
		free := make(chan struct{})
		must(t, r.Fallback(ignoresItsContext(free)))
		f.deliver("stuck", "stuck", "stuck")
		stop := start(t, r)
		<-time.After(time.Hour + time.Second) // between two looks
		if s := r.Status(); len(s.Lanes[0].Stuck) != 1 || s.Lanes[0].Running != 1 || s.Lanes[0].Ready != 1 {
			t.Errorf("status %+v", s)
		}
		close(free)
		synctest.Wait()
		must(t, stop())
		if s := r.Stats(); s.Acked != 2 || s.Retried != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestHandlerTimeoutEndsTheContextWithItsCause(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.HandlerTimeout = time.Minute })
		lane, err := r.Lane(LaneConfig{Name: "patient", HandlerTimeout: -1})
		must(t, err)
		handle(t, r, "a", func(msg *message.Message) error {
			<-msg.Context().Done()
			return context.Cause(msg.Context())
		})
		handle(t, lane, "b", func(msg *message.Message) error {
			<-time.After(time.Hour)
			return msg.Context().Err()
		})
		f.deliver("a", "b")
		stop := start(t, r)
		<-time.After(2 * time.Hour)
		must(t, stop())
		if s := r.Stats(); s.Retried != 1 || s.Acked != 1 || !errors.Is(f.settled()[0].Cause, ErrHandlerTimeout) {
			t.Errorf("stats %+v", s)
		}
	})
}
