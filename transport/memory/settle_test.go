package memory_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

func TestDeadLetterTopicMayCallTheBroker(t *testing.T) {
	var broker *memory.Broker
	b, _, r := open(t, 1, memory.SubscriberConfig{DeadLetterTopic: func(topic string) string {
		return fmt.Sprintf("%s.dead.%d", topic, len(broker.Messages(topic)))
	}})
	broker = b
	settled := make(chan error, 1)
	d := receive(t, r, 1)[0]
	go func() { settled <- r.Settle(t.Context(), d.DeadLetter(errors.New("boom"))) }()
	select {
	case err := <-settled:
		if dead := b.Messages("t.dead.1"); len(dead) != 1 || err != nil {
			t.Errorf("%d dead letters, error %v", len(dead), err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Settle waits for itself")
	}
}

func TestADeadLetterTopicThatFailsLosesNothing(t *testing.T) {
	for name, topic := range map[string]func(string) string{
		"panics":          func(string) string { panic("boom") },
		"names no topic":  func(string) string { return "" },
		"names a bad one": func(string) string { return "a}b" },
		"names its own":   func(topic string) string { return topic },
	} {
		synctest.Test(t, func(t *testing.T) {
			b, _, r := open(t, 2, memory.SubscriberConfig{Lease: time.Minute, DeadLetterTopic: topic})
			got := receive(t, r, 2)
			begun := time.Now()
			err := r.Settle(t.Context(), got[0].DeadLetter(nil), got[1].Ack())
			failed, ok := errors.AsType[*transport.SettleError](err)
			if !ok || len(failed.Unsettled) != 1 || failed.Unsettled[0].Outcome.Delivery != got[0] {
				t.Fatalf("%s: got %v", name, err)
			}
			if n := b.Unsettled("t", "g"); n != 1 {
				t.Errorf("%s: %d messages are unsettled, want 1", name, n)
			}
			again := receive(t, r, 1)[0]
			if again.Message.UUID != "0" || again.Attempt != 2 || time.Since(begun) != time.Minute {
				t.Errorf("%s: %s came again after %v, attempt %d", name, again.Message.UUID, time.Since(begun), again.Attempt)
			}
			if err := r.Settle(t.Context(), got[0].Ack(), again.Ack()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestSettlingADeliveryOfAnotherBrokerChangesNothing(t *testing.T) {
	b, _, r := open(t, 1, memory.SubscriberConfig{})
	foreign := &transport.Delivery{Message: message.NewMessage("1", nil), Topic: "elsewhere"}
	if err := r.Settle(t.Context(), foreign.Ack(), foreign.DeadLetter(nil)); err != nil {
		t.Error(err)
	}
	if dead := b.Messages(transport.DeadLetterTopic("elsewhere")); len(dead) != 0 || b.Unsettled("t", "g") != 1 {
		t.Errorf("%d dead letters, %d unsettled", len(dead), b.Unsettled("t", "g"))
	}
}
