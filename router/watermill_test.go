package router_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/logistically/events"
	"github.com/logistically/events/router"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plain is a router on Watermill's gochannel, which can only ack and nack.
func plain(t *testing.T, change ...func(*router.Config)) (*gochannel.GoChannel, *router.Router) {
	t.Helper()
	channel := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
	cfg := router.Config{Subscriber: channel, Topics: []string{"in", "in2"}, Logger: quiet}
	for _, c := range change {
		c(&cfg)
	}
	r, err := router.New(cfg)
	must(t, err)
	return channel, r
}

func start(t *testing.T, r *router.Router) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Running()
	return func() {
		t.Helper()
		cancel()
		must(t, <-done)
	}
}

func incoming(uuid, eventType string) *message.Message {
	msg := message.NewMessage(uuid, []byte(`{}`))
	if eventType != "" {
		msg.Metadata[events.MetadataType] = eventType
	}
	return msg
}

func TestOnPlainWatermillSubscriber(t *testing.T) {
	bubble(t, "handles, retries after the delay, and leaves the subscriber open", func(t *testing.T) {
		channel, r := plain(t)
		var at []time.Time
		must(t, r.HandleMessage("a", func(*message.Message) error {
			if at = append(at, time.Now()); len(at) < 3 {
				return errors.New("not yet")
			}
			return nil
		}))
		var other atomic.Int32
		must(t, r.HandleMessage("in2", func(*message.Message) error { other.Add(1); return nil }))
		stop := start(t, r)
		must(t, channel.Publish("in", incoming("1", "a")))
		must(t, channel.Publish("in2", incoming("2", ""), incoming("3", "")))
		synctest.Wait()
		if n := other.Load(); n != 2 {
			t.Fatalf("handled %d of the other topic, want 2", n)
		}
		<-time.After(time.Minute)
		stop()
		if len(at) != 3 || at[1].Sub(at[0]) != time.Second || at[2].Sub(at[1]) != time.Second {
			t.Errorf("attempts at %v", at)
		}
		if s := r.Stats(); s.Acked != 3 || s.Retried != 2 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
		_, err := channel.Subscribe(t.Context(), "in")
		must(t, err) // The router has not closed it.
		must(t, channel.Close())
	})
	bubble(t, "a handler's context outlives Run's", func(t *testing.T) {
		channel, r := plain(t)
		var after error
		must(t, r.HandleMessage("a", func(msg *message.Message) error {
			<-time.After(time.Second)
			after = msg.Context().Err()
			return nil
		}))
		stop := start(t, r)
		must(t, channel.Publish("in", incoming("1", "a")))
		synctest.Wait()
		stop()
		if s := r.Stats(); after != nil || s.Acked != 1 {
			t.Errorf("context: %v, stats %+v", after, s)
		}
		must(t, channel.Close())
	})
	bubble(t, "Run returns an error when the subscriber ends", func(t *testing.T) {
		channel, r := plain(t)
		done := make(chan error, 1)
		go func() { done <- r.Run(t.Context()) }()
		<-r.Running()
		must(t, channel.Close())
		if err := <-done; !errors.Is(err, events.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWatermillsOwnMiddlewareRunsUnchanged(t *testing.T) {
	bubble(t, "Retry, Timeout, Recoverer and CorrelationID", func(t *testing.T) {
		channel, r := plain(t)
		out, err := channel.Subscribe(t.Context(), "out")
		must(t, err)
		r.Use(
			middleware.CorrelationID,
			middleware.Retry{MaxRetries: 3, InitialInterval: time.Millisecond}.Middleware,
			middleware.Timeout(time.Second),
			middleware.Recoverer,
		)
		attempts := 0
		must(t, r.HandleAndPublish("a", func(msg *message.Message) ([]*message.Message, error) {
			if attempts++; attempts == 1 {
				panic("ouch")
			}
			if attempts == 2 {
				return nil, errors.New("not yet")
			}
			deadline, ok := msg.Context().Deadline()
			if !ok || time.Until(deadline) > time.Second {
				t.Errorf("deadline %v %v", deadline, ok)
			}
			return []*message.Message{message.NewMessage("2", nil)}, nil
		}, channel, "out"))
		stop := start(t, r)
		in := incoming("1", "a")
		middleware.SetCorrelationID("the-correlation", in)
		must(t, channel.Publish("in", in))
		msg := <-out
		msg.Ack()
		stop()
		if got := middleware.MessageCorrelationID(msg); got != "the-correlation" || attempts != 3 {
			t.Errorf("correlation %q after %d attempts", got, attempts)
		}
		if s := r.Stats(); s.Acked != 1 || s.Retried != 0 {
			t.Errorf("stats %+v", s)
		}
		must(t, channel.Close())
	})
	bubble(t, "Timeout ends the handler's context, and the delivery is retried", func(t *testing.T) {
		channel, r := plain(t)
		r.Use(middleware.Timeout(time.Second))
		calls := 0
		must(t, r.HandleMessage("a", func(msg *message.Message) error {
			if calls++; calls > 1 {
				return nil
			}
			<-msg.Context().Done()
			return msg.Context().Err()
		}))
		stop := start(t, r)
		must(t, channel.Publish("in", incoming("1", "a")))
		<-time.After(10 * time.Second)
		stop()
		if s := r.Stats(); s.Retried != 1 || s.Acked != 1 {
			t.Errorf("stats %+v", s)
		}
		must(t, channel.Close())
	})
}

func bubble(t *testing.T, name string, fn func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, fn) })
}
