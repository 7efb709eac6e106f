package router

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

func TestLimits(t *testing.T) {
	bubble(t, "a lane that is behind does not keep another one waiting", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.Concurrency = 2 })
		slow, err := r.Lane(LaneConfig{Name: "slow", Concurrency: 1})
		must(t, err)
		handle(t, slow, "slow", func(msg *message.Message) error { <-msg.Context().Done(); return msg.Context().Err() })
		handle(t, r, "fast", nothing)
		for range 100 {
			f.deliver("slow")
		}
		f.deliver("fast")
		stop := start(t, r)
		synctest.Wait()
		if s := r.Status(); s.Stats.Acked != 1 || s.Lanes[1].Running != 1 {
			t.Errorf("acked %d of the fast lane, running %d in the slow one", s.Stats.Acked, s.Lanes[1].Running)
		}
		must(t, stop())
		if s := r.Stats(); s.Released != 100 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "no more is held than MaxInFlight, whatever lanes have room", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.MaxInFlight = 10; c.DrainTimeout = time.Second })
		slow, err := r.Lane(LaneConfig{Name: "slow", Concurrency: 1})
		must(t, err)
		handle(t, r, "fast", nothing)
		handle(t, slow, "slow", func(msg *message.Message) error { <-msg.Context().Done(); return msg.Context().Err() })
		for range 100 {
			f.deliver("slow")
		}
		stop := start(t, r)
		synctest.Wait()
		if s := r.Status(); s.Held != 10 || s.Stats.Received != 10 {
			t.Errorf("held %d, received %d, want 10", s.Held, s.Stats.Received)
		}
		must(t, stop())
	})
	bubble(t, "receiving goes on when what is held falls below MaxInFlight", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.MaxInFlight = 3 })
		slow, err := r.Lane(LaneConfig{Name: "slow", Concurrency: 1})
		must(t, err)
		handle(t, r, "fast", nothing)
		handle(t, slow, "slow", func(*message.Message) error { <-time.After(time.Second); return nil })
		for range 20 {
			f.deliver("slow")
		}
		stop := start(t, r)
		<-time.After(time.Minute)
		must(t, stop())
		if s := r.Stats(); s.Acked != 20 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "receiving ends while MaxInFlightBytes of payload are held", func(t *testing.T) {
		f := newFake()
		// The first page has as much as there is room for; so the lane takes one at a time.
		r := newRouter(t, f, func(c *Config) { c.MaxInFlightBytes, c.DrainTimeout = 20, time.Second })
		handle(t, r, "a", func(msg *message.Message) error { <-msg.Context().Done(); return msg.Context().Err() })
		stop := start(t, r)
		for range 10 {
			synctest.Wait()
			f.deliver("a") // 7 bytes each
		}
		synctest.Wait()
		if s := r.Status(); s.Held != 3 || s.HeldBytes != 21 {
			t.Errorf("held %d with %d bytes", s.Held, s.HeldBytes)
		}
		must(t, stop())
	})
	bubble(t, "handlers of a lane have no more payload at a time than MaxRunningBytes, but a larger message is handled alone", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		lane, err := r.Lane(LaneConfig{Name: "heavy", MaxRunningBytes: 14})
		must(t, err)
		var now, most atomic.Int32
		handle(t, lane, "a", func(*message.Message) error {
			most.Store(max(most.Load(), now.Add(1)))
			<-time.After(time.Second)
			now.Add(-1)
			return nil
		})
		for range 5 {
			f.deliver("a") // 7 bytes each
		}
		huge := delivery("a")
		huge.Message.Payload = make([]byte, 100)
		f.in <- huge
		stop := start(t, r)
		<-time.After(time.Minute)
		if s := r.Stats(); most.Load() != 2 || s.Acked != 6 {
			t.Errorf("%d at a time, acked %d", most.Load(), s.Acked)
		}
		must(t, stop())
	})
}

func TestPause(t *testing.T) {
	count := func(n *atomic.Int32) message.NoPublishHandlerFunc {
		return func(*message.Message) error { n.Add(1); return nil }
	}
	bubble(t, "of the router begins no handler, receives nothing more and costs no attempt", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		var n atomic.Int32
		handle(t, r, "a", count(&n))
		must(t, r.Pause(Scope{}))
		f.deliver("a")
		stop := start(t, r)
		synctest.Wait()
		if s := r.Status(); n.Load() != 0 || s.Stats.Received != 0 || !s.Paused {
			t.Errorf("handled %d, status %+v", n.Load(), s)
		}
		must(t, r.Resume(Scope{}))
		synctest.Wait()
		if n.Load() != 1 {
			t.Errorf("handled %d after Resume", n.Load())
		}
		must(t, stop())
	})
	bubble(t, "of a lane keeps what is held, lets others go on, and releases at no attempt", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		lane, err := r.Lane(LaneConfig{Name: "orders"})
		must(t, err)
		var n, others atomic.Int32
		handle(t, lane, "a", count(&n))
		handle(t, r, "b", count(&others))
		stop := start(t, r)
		must(t, r.Pause(Scope{Lane: "orders"}))
		f.deliver("a", "b", "a", "b")
		synctest.Wait()
		if s := r.Status(); n.Load() != 0 || others.Load() != 2 || s.Lanes[1].Ready != 2 || !s.Lanes[1].Paused {
			t.Errorf("handled %d and %d, lane %+v", n.Load(), others.Load(), s.Lanes[1])
		}
		must(t, stop())
		for _, o := range f.settled() {
			if o.Delivery.ID == "id-of-a" && (o.Settlement != transport.Release || o.Delivery.Attempt != 1) {
				t.Errorf("settled by %v with attempt %d", o.Settlement, o.Delivery.Attempt)
			}
		}
	})
	bubble(t, "of the only lane that has handlers ends receiving", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		lane, err := r.Lane(LaneConfig{Name: "orders"})
		must(t, err)
		handle(t, lane, "a", nothing)
		must(t, r.Pause(Scope{Lane: "orders"}))
		stop := start(t, r)
		f.deliver("a")
		synctest.Wait()
		if s := r.Stats(); s.Received != 0 {
			t.Errorf("received %d", s.Received)
		}
		must(t, r.Resume(Scope{Lane: "orders"}))
		synctest.Wait()
		must(t, stop())
		if s := r.Stats(); s.Acked != 1 {
			t.Errorf("stats %+v", s)
		}
	})
	for name, scope := range map[string]Scope{"topic": {Topic: "other"}, "handler": {Pattern: "a"}} {
		bubble(t, "of a "+name+" parks what arrives for it until Resume, and keeps the order of keys", func(t *testing.T) {
			f := newFake()
			r := newRouter(t, f, func(c *Config) { c.Topics = []string{"topic", "other"} })
			lane := ordered(t, r, func(c *LaneConfig) { c.OrderBy = func(*message.Message) string { return "k" } })
			var done diary
			note := func(msg *message.Message) error { done.add(msg.UUID); return nil }
			handle(t, lane, "a", note)
			handle(t, r, "b", note)
			stop := start(t, r)
			must(t, r.Pause(scope))
			for n := range 3 {
				d := keyed("x", n)
				d.Topic, d.Message.Metadata = "other", delivery("a").Message.Metadata
				f.in <- d
			}
			f.deliver("b")
			synctest.Wait()
			want(t, done.all(), "uuid-of-b")
			if s := r.Status().Lanes[1]; s.Parked != 1 || s.Waiting != 2 {
				t.Errorf("lane %+v", s)
			}
			must(t, r.Resume(scope))
			synctest.Wait()
			want(t, done.all(), "uuid-of-b", "x/0", "x/1", "x/2")
			must(t, stop())
		})
	}
	bubble(t, "does not end handlers that run", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		handle(t, r, "a", func(msg *message.Message) error { <-time.After(time.Minute); return msg.Context().Err() })
		f.deliver("a")
		stop := start(t, r)
		synctest.Wait()
		must(t, r.Pause(Scope{}))
		<-time.After(2 * time.Minute)
		if s := r.Stats(); s.Acked != 1 {
			t.Errorf("stats %+v", s)
		}
		must(t, stop())
	})
	t.Run("of what the router does not have is refused", func(t *testing.T) {
		r := newRouter(t, newFake())
		for _, scope := range []Scope{{Lane: "x"}, {Topic: "x"}, {Pattern: "x"}, {Lane: "x", Topic: "topic"}} {
			wantConfigError(t, r.Pause(scope))
			wantConfigError(t, r.Resume(scope))
		}
	})
}

func TestWeightsServeATopicFirstWithoutStarvingTheRest(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		low, high := newFake(), newFake()
		both := &several{byTopic: map[string]*fake{"low": low, "high": high}}
		r, err := New(Config{Subscriber: both, Topics: []string{"low", "high"}, Weights: map[string]int{"high": 3}, Concurrency: 1, Prefetch: 15, Logger: quiet})
		must(t, err)
		var done diary
		must(t, r.Fallback(func(msg *message.Message) error {
			done.add(typeOf(msg, ""))
			<-time.After(time.Second)
			return nil
		}))
		for range 8 {
			low.deliver("low")
			high.deliver("high")
		}
		must(t, r.Pause(Scope{Topic: "low"}))
		must(t, r.Pause(Scope{Topic: "high"}))
		stop := start(t, r)
		// What waits for one worker is served by weight: fill both classes first.
		must(t, r.Pause(Scope{}))
		must(t, r.Resume(Scope{Topic: "low"}))
		must(t, r.Resume(Scope{Topic: "high"}))
		must(t, r.Resume(Scope{}))
		<-time.After(time.Minute)
		must(t, stop())
		got := done.all()
		if len(got) != 16 {
			t.Fatalf("handled %q", got)
		}
		lows := 0
		for i, kind := range got[:12] { // Then high is used up.
			if kind == "low" {
				lows++
			}
			if at := i + 1; at%4 == 0 && (lows < at/4-1 || lows > at/4+1) {
				t.Errorf("%d low ones among the first %d: %q", lows, at, got)
			}
		}
		if low.closed != 1 || high.closed != 1 {
			t.Errorf("receivers closed %d and %d times", low.closed, high.closed)
		}
	})
}

// several is a subscriber with a receiver for each topic.
type several struct {
	fake
	byTopic map[string]*fake
}

func (s *several) Receiver(topics ...string) (transport.Receiver, error) {
	return s.byTopic[topics[0]], nil
}
