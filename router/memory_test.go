package router_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

// onMemory opens a broker with a publisher and a subscriber of group "g".
func onMemory(t *testing.T) (*memory.Broker, message.Publisher, message.Subscriber) {
	t.Helper()
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	return broker, pub, sub
}

type order struct{ Number int }

func TestOverMemoryRetriesFollowTheScheduleAndEndInTheDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, pub, sub := onMemory(t)
		r, err := router.New(router.Config{
			Subscriber: sub, Topics: []string{"order-events"}, Logger: slog.New(slog.DiscardHandler),
			RetryDelay: func(attempt int) time.Duration { return time.Duration(attempt) * time.Hour },
		})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var attempts []time.Duration
		err = router.Handle(r, "order.*", func(ctx context.Context, _ events.Event[order]) error {
			attempts = append(attempts, time.Since(start))
			if d, _ := transport.DeliveryFromContext(ctx); d.Attempt == 4 {
				return events.Permanent(errors.New("no stock"))
			}
			return errors.New("busy")
		})
		if err != nil {
			t.Fatal(err)
		}
		publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		if err := publisher.Publish(t.Context(), "order.created", order{1}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 24*time.Hour)
		defer stop()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		want := []time.Duration{0, time.Hour, 3 * time.Hour, 6 * time.Hour}
		if len(attempts) != len(want) {
			t.Fatalf("attempts after %v, want %v", attempts, want)
		}
		for i := range want {
			if attempts[i] != want[i] {
				t.Errorf("attempt %d after %v, want %v", i+1, attempts[i], want[i])
			}
		}
		dead := broker.Messages(transport.DeadLetterTopic("order-events"))
		if len(dead) != 1 || dead[0].Metadata[transport.MetadataFailureAttempts] != "4" || dead[0].Metadata[transport.MetadataFailureHandler] != "order.*" {
			t.Errorf("dead letters %+v", dead)
		}
		if n := broker.Unsettled("order-events", "g"); n != 0 {
			t.Errorf("%d messages are unsettled", n)
		}
	})
}

type panickingValidator struct{ runs int }

func (v *panickingValidator) Validate(context.Context, string, []byte) error {
	v.runs++
	panic("ouch")
}
func (*panickingValidator) Schema(string) ([]byte, bool) { return nil, false }

func TestOverMemoryAValidatorThatPanicsIsRetriedAndThenADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, pub, sub := onMemory(t)
		r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"order-events"}, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		validator := &panickingValidator{}
		poisonQueue, err := middleware.PoisonQueue(middleware.PoisonConfig{})
		if err != nil {
			t.Fatal(err)
		}
		retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 3})
		if err != nil {
			t.Fatal(err)
		}
		validation, err := middleware.Validation(validator, middleware.ValidationConfig{})
		if err != nil {
			t.Fatal(err)
		}
		r.Use(poisonQueue, retry, validation)
		if err := r.HandleMessage("order.placed", func(*message.Message) error { return nil }); err != nil {
			t.Fatal(err)
		}
		msg := message.NewMessage("1", []byte("{}"))
		msg.Metadata[events.MetadataType] = "order.placed"
		if err := pub.Publish("order-events", msg); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		letters := broker.Messages(transport.DeadLetterTopic("order-events"))
		if s := r.Stats(); validator.runs != 3 || s.DeadLettered != 1 || len(letters) != 1 {
			t.Fatalf("%d runs, %+v, %d dead letters", validator.runs, s, len(letters))
		}
	})
}

func TestOverMemoryAShutdownCostsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, pub, sub := onMemory(t)
		for range 5 {
			if err := pub.Publish("t", message.NewMessage(watermill.NewUUID(), []byte("{}"))); err != nil {
				t.Fatal(err)
			}
		}
		run := func(handle message.NoPublishHandlerFunc) {
			r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Concurrency: 2, DrainTimeout: time.Second, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Fallback(handle); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			if err := r.Run(ctx); err != nil {
				t.Fatal(err)
			}
		}
		run(func(msg *message.Message) error {
			<-msg.Context().Done()
			return context.Cause(msg.Context())
		})
		if n := broker.Unsettled("t", "g"); n != 5 {
			t.Fatalf("%d messages are unsettled, want 5", n)
		}
		run(func(msg *message.Message) error {
			if d, _ := transport.DeliveryFromContext(msg.Context()); d.Attempt != 1 {
				t.Errorf("attempt %d: the shutdown was counted", d.Attempt)
			}
			return nil
		})
		if n := broker.Unsettled("t", "g"); n != 0 {
			t.Errorf("%d messages are unsettled", n)
		}
	})
}

func TestMemoryRunsInWatermillsRouter(t *testing.T) {
	_, pub, sub := onMemory(t)
	r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	r.AddHandler("double", "in", sub, "out", pub, func(msg *message.Message) ([]*message.Message, error) {
		return message.Messages{message.NewMessage("out", append(msg.Payload, msg.Payload...))}, nil
	})
	done := make(chan string, 1)
	r.AddConsumerHandler("end", "out", sub, func(msg *message.Message) error {
		done <- string(msg.Payload)
		return nil
	})
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.Background()) }()
	<-r.Running()
	if err := pub.Publish("in", message.NewMessage("1", []byte("ab"))); err != nil {
		t.Fatal(err)
	}
	if got := <-done; got != "abab" {
		t.Errorf("got %q", got)
	}
	if err := errors.Join(r.Close(), <-ended); err != nil {
		t.Error(err)
	}
}
