package router_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/memory"
)

// onBroker is a router on a broker.
func onBroker(t *testing.T, change ...func(*router.Config)) (pub *memory.Publisher, r *router.Router) {
	t.Helper()
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	must(t, err)
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
	must(t, err)
	cfg := router.Config{Subscriber: sub, Topics: []string{"in"}, Logger: quiet}
	for _, c := range change {
		c(&cfg)
	}
	r, err = router.New(cfg)
	must(t, err)
	return pub, r
}

func countingIn(n *atomic.Int32) message.NoPublishHandlerFunc {
	return func(*message.Message) error { n.Add(1); return nil }
}

// Watermill's tests of AddHandler at run time, RunHandlers, Handler.Stop, decorators,
// plugins and Close, as docs/MIGRATING.md says they are done here.
func TestWhatWatermillsRouterIsUsedForHasItsPlace(t *testing.T) {
	bubble(t, "a handler is switched on while the router runs, and nothing that came before is lost", func(t *testing.T) {
		pub, r := onBroker(t)
		var a, later atomic.Int32
		must(t, r.HandleMessage("a", countingIn(&a)))
		must(t, r.HandleMessage("later", countingIn(&later)))
		must(t, r.Pause(router.Scope{Pattern: "later"}))
		stop := start(t, r)
		must(t, pub.Publish("in", incoming("1", "later"), incoming("2", "a")))
		synctest.Wait()
		if a.Load() != 1 || later.Load() != 0 {
			t.Errorf("handled %d and %d", a.Load(), later.Load())
		}
		must(t, r.Resume(router.Scope{Pattern: "later"}))
		synctest.Wait()
		stop()
		if s := r.Stats(); later.Load() != 1 || s.Acked != 2 || s.Retried != 0 {
			t.Errorf("handled %d, stats %+v", later.Load(), s)
		}
	})
	bubble(t, "topics that are known later are another router's over the same subscriber", func(t *testing.T) {
		var sub message.Subscriber
		pub, first := onBroker(t, func(c *router.Config) { sub = c.Subscriber })
		stop := start(t, first)
		second, err := router.New(router.Config{Subscriber: sub, Topics: []string{"in2"}, Logger: quiet})
		must(t, err)
		var n atomic.Int32
		must(t, second.HandleMessage("b", countingIn(&n)))
		stopSecond := start(t, second)
		must(t, pub.Publish("in2", incoming("1", "b")))
		synctest.Wait()
		stopSecond()
		must(t, pub.Publish("in2", incoming("2", "b")))
		synctest.Wait()
		stop()
		if n.Load() != 1 {
			t.Errorf("handled %d", n.Load())
		}
	})
	bubble(t, "one handler is stopped, the others go on, and the router does", func(t *testing.T) {
		pub, r := onBroker(t)
		var a, b atomic.Int32
		must(t, r.HandleMessage("a", countingIn(&a)))
		must(t, r.HandleMessage("b", countingIn(&b)))
		stop := start(t, r)
		for _, pattern := range []string{"a", "b"} {
			must(t, r.Pause(router.Scope{Pattern: pattern}))
			must(t, pub.Publish("in", incoming("1", "a"), incoming("2", "b")))
			synctest.Wait()
		}
		if a.Load() != 0 || b.Load() != 1 {
			t.Errorf("handled %d and %d", a.Load(), b.Load())
		}
		select {
		case <-time.After(time.Hour): // All are stopped, and Run goes on.
		case <-r.Running():
		}
		if s := r.Status(); s.State != router.StateRunning || s.Stats.Acked != 1 {
			t.Errorf("status %+v", s)
		}
		stop()
		if s := r.Stats(); s.Released != 3 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "publisher and subscriber decorators wrap what is passed in, the first one innermost", func(t *testing.T) {
		mark := func(key, value string) func(*message.Message) {
			return func(m *message.Message) { m.Metadata.Set(key, m.Metadata.Get(key)+value) }
		}
		broker := memory.NewBroker(memory.BrokerConfig{})
		inner, err := memory.NewPublisher(broker)
		must(t, err)
		source, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
		must(t, err)
		var pub message.Publisher = inner
		var sub message.Subscriber = source
		for _, value := range []string{"foo", "bar"} {
			pub, err = message.MessageTransformPublisherDecorator(mark("pub", value))(pub)
			must(t, err)
			sub, err = message.MessageTransformSubscriberDecorator(mark("sub", value))(sub)
			must(t, err)
		}
		r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"in"}, Logger: quiet})
		must(t, err)
		must(t, r.HandleAndPublish("a", message.PassthroughHandler, pub, "out"))
		stop := start(t, r)
		must(t, inner.Publish("in", incoming("1", "a")))
		synctest.Wait()
		stop()
		out := broker.Messages("out")
		if len(out) != 1 || out[0].Metadata.Get("sub") != "foobar" || out[0].Metadata.Get("pub") != "barfoo" {
			t.Errorf("published %v", out)
		}
		must(t, sub.Close())
	})
	t.Run("a signal ends Run", func(t *testing.T) {
		_, r := onBroker(t)
		must(t, r.HandleMessage("a", func(*message.Message) error { return nil }))
		ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGUSR1)
		defer stop()
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-r.Running()
		must(t, syscall.Kill(os.Getpid(), syscall.SIGUSR1))
		must(t, <-ended)
	})
	bubble(t, "many may stop it at once, and none may run it again", func(t *testing.T) {
		pub, r := onBroker(t)
		must(t, r.HandleMessage("a", func(*message.Message) error { <-time.After(time.Second); return nil }))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-r.Running()
		must(t, pub.Publish("in", incoming("1", "a")))
		synctest.Wait()
		var stopping sync.WaitGroup
		for range 10 {
			stopping.Go(cancel)
			stopping.Go(func() {
				if err := r.Run(ctx); !errors.Is(err, router.ErrRunTwice) {
					t.Errorf("a second Run: %v", err)
				}
			})
		}
		stopping.Wait()
		must(t, <-ended)
		if s := r.Stats(); s.Acked != 1 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "a shutdown is no error and logs none", func(t *testing.T) {
		var log bytes.Buffer
		pub, r := onBroker(t, func(c *router.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		must(t, r.HandleMessage("a", func(*message.Message) error { return nil }))
		stop := start(t, r)
		must(t, pub.Publish("in", incoming("1", "a")))
		synctest.Wait()
		stop()
		if strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), "level=WARN") {
			t.Error(log.String())
		}
	})
	bubble(t, "a handler that returns its context's error at the deadline has its message delivered again", func(t *testing.T) {
		var sub message.Subscriber
		pub, r := onBroker(t, func(c *router.Config) { sub, c.DrainTimeout = c.Subscriber, time.Second })
		must(t, r.HandleMessage("a", func(msg *message.Message) error { <-msg.Context().Done(); return msg.Context().Err() }))
		stop := start(t, r)
		must(t, pub.Publish("in", incoming("1", "a")))
		synctest.Wait()
		stop()
		next, err := router.New(router.Config{Subscriber: sub, Topics: []string{"in"}, Logger: quiet})
		must(t, err)
		var n atomic.Int32
		must(t, next.HandleMessage("a", countingIn(&n)))
		stop = start(t, next)
		synctest.Wait()
		stop()
		if n.Load() != 1 {
			t.Errorf("handled %d", n.Load())
		}
	})
	t.Run("its handlers are listed", func(t *testing.T) {
		_, r := onBroker(t)
		for _, pattern := range []string{"b", "a", "c.*"} {
			must(t, r.HandleMessage(pattern, func(*message.Message) error { return nil }))
		}
		text := r.Describe().String()
		for _, pattern := range []string{"a", "b", "c.*"} {
			if !strings.Contains(text, pattern) {
				t.Errorf("%s is not in %s", pattern, text)
			}
		}
	})
}

func TestAHandlerAddedWhileTheRouterDrainsIsRefusedAndNothingIsLost(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		pub, r := onBroker(t)
		must(t, r.HandleMessage("a", func(*message.Message) error { <-time.After(10 * time.Second); return nil }))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-r.Running()
		must(t, pub.Publish("in", incoming("1", "a"), incoming("2", "b")))
		synctest.Wait()
		cancel()
		synctest.Wait()
		err := r.HandleMessage("b", func(*message.Message) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "Run") {
			t.Errorf("error %v", err)
		}
		must(t, <-ended)
	})
}
