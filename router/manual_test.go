package router_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

// manual is a router on memory whose handler keeps its settlers for the test.
type manual struct {
	t      *testing.T
	broker *memory.Broker
	router *router.Router
	stop   func()

	mu       sync.Mutex
	settlers map[int][]*router.Settler // by order number, one for each call
	contexts map[int]context.Context   // of the last call
	returns  func(n int) error
}

func newManual(t *testing.T, cfg router.ManualConfig, change func(*router.Config), mw ...message.HandlerMiddleware) *manual {
	t.Helper()
	broker, pub, sub := onMemory(t)
	m := &manual{t: t, broker: broker, settlers: map[int][]*router.Settler{}, contexts: map[int]context.Context{}}
	rc := router.Config{Subscriber: sub, Topics: []string{"order-events"}, Logger: quiet, DrainTimeout: time.Minute}
	if change != nil {
		change(&rc)
	}
	r, err := router.New(rc)
	must(t, err)
	r.Use(mw...)
	must(t, router.HandleManual(r, "order.*", cfg, func(ctx context.Context, ev events.Event[order], s *router.Settler) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.settlers[ev.Body.Number] = append(m.settlers[ev.Body.Number], s)
		m.contexts[ev.Body.Number] = ctx
		if m.returns != nil {
			return m.returns(ev.Body.Number)
		}
		return nil
	}))
	m.router = r
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "shop"})
	must(t, err)
	for n := range 3 {
		must(t, publisher.Publish(t.Context(), "order.created", order{n}))
	}
	m.stop = start(t, r)
	return m
}

// called waits and returns how often the handler was called for an order.
func (m *manual) called(after time.Duration, n int) int {
	<-time.After(after)
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.settlers[n])
}

func (m *manual) settler(n int) *router.Settler {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settlers[n][len(m.settlers[n])-1]
}

func (m *manual) unsettled(want int) {
	m.t.Helper()
	if got := m.broker.Unsettled("order-events", "g"); got != want {
		m.t.Errorf("%d unsettled, want %d", got, want)
	}
}

func TestHandleManual(t *testing.T) {
	bubble(t, "leaves the settlement to the handler, long after it has returned and past the lease", func(t *testing.T) {
		m := newManual(t, router.ManualConfig{}, nil)
		if n := m.called(10*time.Minute, 1); n != 1 { // The lease is 30 s.
			t.Errorf("called %d times", n)
		}
		m.unsettled(3)
		go func() { // From another goroutine.
			if !m.settler(0).Settle(nil) {
				t.Error("the first settlement did not count")
			}
		}()
		<-time.After(time.Second)
		m.unsettled(2)
		if m.contexts[0].Err() == nil || m.contexts[1].Err() != nil {
			t.Error("a context lives until its delivery is settled, and no longer")
		}
		m.settler(1).Settle(nil)
		m.settler(2).Settle(nil)
		m.stop()
		m.unsettled(0)
	})
	bubble(t, "settles once, by the class of the error", func(t *testing.T) {
		m := newManual(t, router.ManualConfig{}, nil)
		m.called(time.Second, 0)
		if !m.settler(0).Settle(events.Permanent(errors.New("no such customer"))) || m.settler(0).Settle(nil) {
			t.Error("the first settlement counts, and no other")
		}
		m.settler(1).Settle(events.RetryAfter(time.Hour, errors.New("busy")))
		m.settler(2).Settle(events.Discard(errors.New("cancelled")))
		if n := m.called(59*time.Minute, 1); n != 1 {
			t.Errorf("called %d times within the hour", n)
		}
		if n := m.called(2*time.Minute, 1); n != 2 {
			t.Errorf("called %d times after the hour", n)
		}
		m.settler(1).Settle(nil)
		m.stop()
		m.unsettled(0)
		dead := m.broker.Messages(transport.DeadLetterTopic("order-events"))
		if len(dead) != 1 || dead[0].Metadata[transport.MetadataFailureReason] != "no such customer" {
			t.Errorf("dead letters: %v", dead)
		}
	})
	bubble(t, "takes an error or a panic of the handler as its settlement, unless there was one", func(t *testing.T) {
		m := newManual(t, router.ManualConfig{}, nil)
		m.called(time.Second, 0)
		for n := range 3 {
			m.settler(n).Settle(events.RetryAfter(time.Minute, errors.New("again")))
		}
		m.mu.Lock()
		m.returns = func(n int) error {
			switch n {
			case 0:
				m.settlers[0][1].Settle(nil)
				return errors.New("too late to say that")
			case 1:
				return events.Permanent(errors.New("gone"))
			}
			panic("a bug")
		}
		m.mu.Unlock()
		if n := m.called(61*time.Second, 2); n != 2 {
			t.Fatalf("called %d times", n)
		}
		if n := m.called(time.Second, 0); n != 2 {
			t.Errorf("an acked delivery came again: %d calls", n)
		}
		if n := len(m.broker.Messages(transport.DeadLetterTopic("order-events"))); n != 1 {
			t.Errorf("%d dead letters", n)
		}
		m.unsettled(1) // The panic is retried.
		m.stop()
	})
	bubble(t, "holds no more than MaxPending", func(t *testing.T) {
		m := newManual(t, router.ManualConfig{MaxPending: 2}, nil)
		if m.called(time.Minute, 2) != 0 {
			t.Error("a third one was begun")
		}
		m.settler(1).Settle(nil)
		if m.called(time.Second, 2) != 1 {
			t.Error("the third one was not begun when there was room")
		}
		m.settler(0).Settle(nil)
		m.settler(2).Settle(nil)
		m.stop()
	})
	bubble(t, "releases at the drain deadline what is not settled, and says that it is too late then", func(t *testing.T) {
		m := newManual(t, router.ManualConfig{}, nil)
		m.called(time.Second, 0)
		ended := make(chan struct{})
		go func() { defer close(ended); m.stop() }()
		<-time.After(30 * time.Second)
		if !m.settler(0).Settle(nil) {
			t.Error("a draining router takes settlements")
		}
		<-ended
		if m.settler(1).Settle(nil) {
			t.Error("a released delivery was settled")
		}
		if cause := context.Cause(m.contexts[1]); !errors.Is(cause, events.ErrReleased) {
			t.Errorf("its context ended by %v", cause)
		}
		m.unsettled(2)
		if s := m.router.Stats(); s.Released != 2 || s.Acked != 1 {
			t.Errorf("%+v", s)
		}
	})
	bubble(t, "retries after a handler timeout, and middleware sees the settlement", func(t *testing.T) {
		var mu sync.Mutex
		var seen []string
		watch := func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				produced, err := next(msg)
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, router.ErrNotSettled) && errors.Is(err, router.ErrHandlerTimeout) {
					seen = append(seen, "timeout")
				} else {
					seen = append(seen, fmt.Sprint(err))
				}
				return produced, err
			}
		}
		m := newManual(t, router.ManualConfig{}, func(c *router.Config) { c.HandlerTimeout = time.Minute }, watch)
		if n := m.called(62*time.Second, 0); n != 2 {
			t.Errorf("called %d times", n)
		}
		for n := range 3 {
			m.settler(n).Settle(nil)
		}
		<-time.After(time.Second)
		m.stop()
		m.unsettled(0)
		slices.Sort(seen)
		if want := []string{"<nil>", "<nil>", "<nil>", "timeout", "timeout", "timeout"}; !slices.Equal(seen, want) {
			t.Errorf("middleware saw %q", seen)
		}
	})
	bubble(t, "is retried in process with a settler of its own", func(t *testing.T) {
		retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 2})
		must(t, err)
		m := newManual(t, router.ManualConfig{}, nil, retry)
		m.called(time.Second, 0)
		m.settler(0).Settle(errors.New("busy"))
		if n := m.called(time.Second, 0); n != 2 {
			t.Errorf("called %d times", n)
		}
		for n := range 3 {
			m.settler(n).Settle(nil)
		}
		m.stop()
		m.unsettled(0)
	})
	t.Run("refuses what cannot be", func(t *testing.T) {
		_, r := plain(t)
		fn := func(context.Context, events.Event[order], *router.Settler) error { return nil }
		for _, err := range []error{
			router.HandleManual(r, "a", router.ManualConfig{MaxPending: -1}, fn),
			router.HandleManual[order](r, "b", router.ManualConfig{}, nil),
			router.HandleManual(r, "c.**.d", router.ManualConfig{}, fn),
		} {
			if _, ok := errors.AsType[*events.ConfigError](err); !ok {
				t.Errorf("got %v", err)
			}
		}
	})
}
