package middleware_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
)

// upcasterFunc is an events.Upcaster.
type upcasterFunc func(eventType, version string, body []byte) ([]byte, string, error)

func (f upcasterFunc) Upcast(_ context.Context, eventType, version string, body []byte) ([]byte, string, error) {
	return f(eventType, version, body)
}

func TestUpcastShowsTheNewBodyInsideAndTheOldOneOutside(t *testing.T) {
	mw, err := middleware.Upcast(upcasterFunc(func(eventType, version string, body []byte) ([]byte, string, error) {
		if eventType != "user.created" || version != "1.0.0" || string(body) != `{"n":1}` {
			t.Errorf("upcasts %s %s %s", eventType, version, body)
		}
		return []byte(`{"n":2}`), "2.0.0", nil
	}))
	must(t, err)
	msg := newMessage("1")
	msg.Metadata[events.MetadataVersion] = "1.0.0"
	outside := msg.Metadata
	for _, want := range []error{nil, errBoom} {
		_, err = mw(func(inside *message.Message) ([]*message.Message, error) {
			if inside != msg || string(inside.Payload) != `{"n":2}` || events.HeaderOf(inside).Version != "2.0.0" {
				t.Errorf("inside: %s %v", inside.Payload, inside.Metadata)
			}
			if outside[events.MetadataVersion] != "1.0.0" {
				t.Error("the map of somebody outside was changed")
			}
			return nil, want
		})(msg)
		if err != want || string(msg.Payload) != `{"n":1}` || msg.Metadata[events.MetadataVersion] != "1.0.0" {
			t.Errorf("outside: %v, %s %v", err, msg.Payload, msg.Metadata)
		}
	}
}

func TestUpcastLeavesNewEventsAlone(t *testing.T) {
	mw, err := middleware.Upcast(upcasterFunc(func(_, version string, body []byte) ([]byte, string, error) { return body, version, nil }))
	must(t, err)
	h := &handler{}
	if _, err := mw(h.handle)(newMessage("1")); err != nil || h.runs != 1 {
		t.Errorf("%v after %d runs", err, h.runs)
	}
}

func TestUpcastKeepsTheClassOfAFailure(t *testing.T) {
	for _, want := range []error{errBoom, events.Permanent(errBoom)} {
		mw, err := middleware.Upcast(upcasterFunc(func(string, string, []byte) ([]byte, string, error) { return nil, "", want }))
		must(t, err)
		h := &handler{}
		_, err = mw(h.handle)(newMessage("1"))
		if !errors.Is(err, errBoom) || events.IsPermanent(err) != events.IsPermanent(want) || h.runs != 0 {
			t.Errorf("%v after %d runs", err, h.runs)
		}
	}
	_, err := middleware.Upcast(nil)
	wantConfigError(t, "no upcaster", err)
}
