package middleware_test

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
)

func TestCorrelationTiesWhatIsPublishedToTheEvent(t *testing.T) {
	for id, want := range map[string]string{"": "1", "first": "first"} {
		broker := &recorder{}
		pub, err := events.NewPublisher(broker, events.PublisherConfig{Origin: "test"})
		must(t, err)
		in := newMessage("1")
		if id != "" {
			in.Metadata[events.MetadataCorrelationID] = id
		}
		outside := in.Context()
		own := newMessage("3")
		own.Metadata[events.MetadataCorrelationID] = "own"
		produced, err := middleware.Correlation()(func(msg *message.Message) ([]*message.Message, error) {
			return []*message.Message{{UUID: "2"}, own, nil, msg}, pub.Publish(msg.Context(), "mail.sent", nil)
		})(in)
		must(t, err)
		for i, h := range []events.Header{events.HeaderOf(broker.messages[0]), events.HeaderOf(produced[0])} {
			if h.CorrelationID != want || h.CausationID != "1" {
				t.Errorf("%d: correlation %q, causation %q, want %q", i, h.CorrelationID, h.CausationID, want)
			}
		}
		if own.Metadata[events.MetadataCorrelationID] != "own" || in.Metadata[events.MetadataCausationID] != "" || in.Context() != outside {
			t.Errorf("changed: %v, %v", own.Metadata, in.Metadata)
		}
	}
}

func TestCorrelationLeavesTheRoutersHeader(t *testing.T) {
	msg := newMessage("1")
	ctx := events.ContextWithHeader(context.Background(), events.Header{ID: "1", CorrelationID: "router's"})
	msg.SetContext(ctx)
	_, err := middleware.Correlation()(func(msg *message.Message) ([]*message.Message, error) {
		if msg.Context() != ctx {
			t.Error("another context")
		}
		return nil, nil
	})(msg)
	must(t, err)
}
