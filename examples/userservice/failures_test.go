package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport/console"
)

// outlet is a transport's publisher that asks the test first.
type outlet struct {
	message.Publisher
	before func(topic string) error
}

func (o outlet) Publish(topic string, msgs ...*message.Message) error {
	if err := o.before(topic); err != nil {
		return err
	}
	return o.Publisher.Publish(topic, msgs...)
}

var errDown = errors.New("connection refused")

// runWithAda runs a service over outlet on synthetic time and tells it of a user.
func runWithAda(t *testing.T, before func(topic string) error, save func([]events.FailedMessage) error) (service *Service, watcher message.Subscriber, stop func()) {
	t.Helper()
	pub, subscriber := onMemory(t)
	service = newService(t, outlet{pub, before}, subscriber(Group), save)
	web, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "web"})
	check(t, err)
	check(t, web.Publish(t.Context(), "user.created", UserCreated{UserID: "1", Name: "Ada", Email: "ada@example.com", CreatedAt: time.Now()}))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	return service, subscriber("watcher"), func() {
		cancel()
		check(t, <-ended)
		limit, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		check(t, service.Close(limit))
	}
}

// A crash loses whatever is in memory only. So the event that it follows from
// must be unacked until then.
func TestAnEventIsAckedOnlyWhenWhatFollowsFromItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := make(chan struct{})
		service, _, stop := runWithAda(t, func(string) error { <-stored; return nil }, nil)
		<-time.After(time.Minute)
		if s := service.router.Stats(); s.InFlight != 1 || s.Acked != 0 {
			t.Errorf("before: %+v", s)
		}
		close(stored)
		synctest.Wait()
		if s := service.router.Stats(); s.InFlight != 0 || s.Acked != 1 {
			t.Errorf("after: %+v", s)
		}
		stop()
	})
}

func TestAnEventIsHandledAgainWhenWhatFollowsFromItCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		service, watcher, stop := runWithAda(t, func(topic string) error {
			if topic == "notification-events" && calls.Add(1) == 1 {
				return errDown
			}
			return nil
		}, nil)
		receive(t, watch(t, watcher, "notification-events"))
		synctest.Wait()
		if s := service.router.Stats(); calls.Load() != 2 || s.Acked != 1 {
			t.Errorf("%d calls, %+v", calls.Load(), s)
		}
		stop()
	})
}

func TestWhatIsBufferedAndCannotBeSentIsSavedAndCanBeReadBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "failed.jsonl")
	synctest.Test(t, func(t *testing.T) {
		service, _, stop := runWithAda(t, func(topic string) error {
			if topic == "profile-events" {
				return errDown
			}
			return nil
		}, saveTo(file))
		synctest.Wait()
		w := httptest.NewRecorder()
		request, leave := context.WithCancel(t.Context())
		service.Handler(nil).ServeHTTP(w, httptest.NewRequestWithContext(request, http.MethodGet, "/users/1", nil))
		leave()
		if w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		stop()
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
