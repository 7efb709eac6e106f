package memory_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

// open publishes n messages to topic "t" and opens a receiver on it.
func open(t *testing.T, n int, cfg memory.SubscriberConfig) (*memory.Broker, *memory.Subscriber, transport.Receiver) {
	t.Helper()
	b := memory.NewBroker(memory.BrokerConfig{})
	p := newPublisher(t, b)
	for i := range n {
		if err := p.Publish("t", message.NewMessage(fmt.Sprint(i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	cfg.Group = "g"
	s, err := memory.NewSubscriber(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Receiver("t")
	if err != nil {
		t.Fatal(err)
	}
	return b, s, r
}

func receive(t *testing.T, r transport.Receiver, n int) []*transport.Delivery {
	t.Helper()
	page, err := r.Receive(t.Context(), n)
	if err != nil || len(page) != n {
		t.Fatalf("received %d of %d: %v", len(page), n, err)
	}
	return page
}

func TestWhatACrashedReceiverHeldComesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s, r := open(t, 50, memory.SubscriberConfig{})
		var want, got []string
		for _, d := range receive(t, r, 50) {
			want = append(want, d.ID)
		}
		memory.Crash(r)
		heir, err := s.Receiver("t")
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range receive(t, heir, 50) {
			got = append(got, d.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("came in the order %v", got)
		}
	})
}

func TestNegativeSettingsAreRefused(t *testing.T) {
	for field, cfg := range map[string]memory.SubscriberConfig{
		"memory.SubscriberConfig.Lease":       {Lease: -1},
		"memory.SubscriberConfig.MaxInFlight": {MaxInFlight: -1},
		"memory.SubscriberConfig.NackDelay":   {NackDelay: -1},
	} {
		cfg.Group = "g"
		_, err := memory.NewSubscriber(memory.NewBroker(memory.BrokerConfig{}), cfg)
		if refused, ok := errors.AsType[*events.ConfigError](err); !ok || refused.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
