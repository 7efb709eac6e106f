package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/eventstest"
	"github.com/logistically/events/transport/console"
)

var (
	errDown = errors.New("connection refused")
	ada     = UserCreated{UserID: "1", Name: "Ada", Email: "ada@example.com"}
)

// onKit runs a service, on virtual time, that publishes through wrap's result.
func onKit(t *testing.T, save func([]events.FailedMessage) error, wrap func(message.Publisher) message.Publisher) (*eventstest.Kit, *Service) {
	t.Helper()
	k := eventstest.New(t, eventstest.Config{})
	service := newService(t, wrap(k.Publisher), k.Subscriber(Group), save)
	t.Cleanup(func() {
		k.Stop()
		limit, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		check(t, service.Close(limit))
	})
	k.Run(service.Run)
	return k, service
}

func unchanged(pub message.Publisher) message.Publisher { return pub }

// gate is a publisher that waits until it is opened.
type gate struct {
	message.Publisher
	open chan struct{}
}

func (g gate) Publish(topic string, msgs ...*message.Message) error {
	<-g.open
	return g.Publisher.Publish(topic, msgs...)
}

// A crash loses whatever is in memory only. So the event that it follows from
// must be unacked until then.
func TestAnEventIsAckedOnlyWhenWhatFollowsFromItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		k, service := onKit(t, nil, func(pub message.Publisher) message.Publisher { return gate{pub, open} })
		k.Publish("user.created", ada)
		k.Advance(time.Minute)
		if s := service.router.Stats(); s.InFlight != 1 || s.Acked != 0 {
			t.Errorf("before: %+v", s)
		}
		close(open)
		k.Wait()
		k.AssertHandled("user.created")
		k.AssertNothingPending()
	})
}

func TestAnEventIsHandledAgainWhenWhatFollowsFromItCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := onKit(t, nil, unchanged)
		k.FailPublish("notification-events", 1, errDown)
		k.Publish("user.created", ada)
		k.Settle()
		k.AssertHandled("user.created")
		eventstest.AssertPublished(k, "notification.sent", eventstest.Body(NotificationSent{UserID: "1", Type: "welcome", Email: ada.Email}))
		if audits := eventstest.Published[AuditLog](k, "audit.log"); len(audits) != 2 {
			t.Errorf("the handler ran %d times, want 2", len(audits))
		}
	})
}

func TestWhatIsBufferedAndCannotBeSentIsSavedAndCanBeReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "failed.jsonl")
	synctest.Test(t, func(t *testing.T) {
		k, service := onKit(t, saveTo(file), unchanged)
		k.FailPublish("profile-events", -1, errDown)
		k.Publish("user.created", ada)
		k.Wait()
		handler, err := service.Handler(func(context.Context) error { return nil })
		check(t, err)
		w := httptest.NewRecorder()
		request, leave := context.WithCancel(t.Context())
		handler.ServeHTTP(w, httptest.NewRequestWithContext(request, http.MethodGet, "/users/1", nil))
		leave()
		if w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})

	f, err := os.Open(file)
	check(t, err)
	defer f.Close()
	saved, err := console.NewSubscriber(console.SubscriberConfig{Reader: f})
	check(t, err)
	msgs, err := saved.Subscribe(t.Context(), "")
	check(t, err)
	var types []string
	for msg := range msgs {
		types = append(types, events.HeaderOf(msg).Type)
		msg.Ack()
	}
	check(t, saved.Close())
	if len(types) != 1 || types[0] != "profile.viewed" {
		t.Errorf("saved %v", types)
	}
}
