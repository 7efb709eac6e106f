package eventstest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/eventstest"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
)

func TestFailNextFailsAsManyRunsAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := users(t)
		retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 3})
		check(t, err)
		k.Router.Use(retry)
		var runs int
		check(t, k.Router.Fallback(func(*message.Message) error { runs++; return nil }))
		count := func(eventType string) int {
			t.Helper()
			runs = 0
			before := k.Router.Stats().Retried
			k.Publish(eventType, user{})
			k.Settle()
			if k.Router.Stats().Retried != before {
				t.Errorf("%s: the failures went past the retry middleware of the router", eventType)
			}
			return runs
		}
		k.FailNext("user.created", 2, nil)
		if n := count("user.deleted"); n != 1 {
			t.Errorf("another type: %d runs", n)
		}
		if n := count("user.created"); n != 1 {
			t.Errorf("with two failures before: %d runs", n)
		}
		k.FailNext("", -1, events.Discard(eventstest.ErrInjected))
		if n := count("user.created") + count("user.deleted"); n != 0 {
			t.Errorf("without an end: %d runs", n)
		}
		k.FailNext("", 0, nil)
		if n := count("user.created"); n != 1 {
			t.Errorf("cleared: %d runs", n)
		}
	})
}

func TestFailPublishFailsAsIfTheServerWereAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := welcoming(t)
		k.FailPublish("mail-events", 1, errors.New("connection refused"))
		id := k.Publish("user.created", user{Name: "Ada"})
		k.Settle()
		k.AssertHandled("user.created")
		if all := eventstest.Published[user](k, "mail.sent"); len(all) != 1 {
			t.Errorf("published %+v", all)
		}
		if got := k.Timeline(id); !strings.Contains(got, "connection refused") {
			t.Errorf("the timeline does not tell of the failure:\n%s", got)
		}
		k.FailPublish("", -1, nil)
		if err := k.Events.Publish(t.Context(), "user.created", user{}); !errors.Is(err, eventstest.ErrInjected) {
			t.Errorf("got %v", err)
		}
	})
}

// Where the poison queue has a publisher of its own, as in Watermill's router.
func TestWhatAPoisonQueuePublishesIsADeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := eventstest.New(t, eventstest.Config{})
		k.Publish("user.created", user{})
		letter, err := k.Events.Message(t.Context(), "user.deleted", user{})
		check(t, err)
		letter.Metadata[transport.MetadataFailureReason] = "no such user"
		letter.Metadata[transport.MetadataFailureTopic] = "user-events"
		check(t, k.Publisher.Publish("poison", letter))
		k.AssertDeadLettered("user.deleted", "no such user")
		k.AssertNotPublished("user.deleted")

		replayed := letter.Copy()
		check(t, k.Publisher.Publish("user-events", replayed))
		eventstest.AssertPublished[user](k, "user.deleted")
	})
}

func TestWrongUseFailsTheTestAndSaysWhatToDo(t *testing.T) {
	if got := failing(t, func(t testing.TB) { eventstest.New(t, eventstest.Config{}) }); !strings.Contains(got, "synctest.Test") {
		t.Errorf("outside of a bubble: %q", got)
	}
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			want string
			fn   func(t testing.TB)
		}{
			{"Config.Limit: is negative", func(t testing.TB) { eventstest.New(t, eventstest.Config{Limit: -1}) }},
			{"Config.Router.Subscriber: is set", func(t testing.TB) {
				eventstest.New(t, eventstest.Config{Router: router.Config{Subscriber: eventstest.New(t, eventstest.Config{}).Subscriber("g")}})
			}},
			{"Concurrency", func(t testing.TB) {
				eventstest.New(t, eventstest.Config{Router: router.Config{Topics: []string{"a"}, Concurrency: -1}})
			}},
			{"Publish: events: the event type is empty", func(t testing.TB) { eventstest.New(t, eventstest.Config{}).Publish("", nil) }},
			{"Subscriber: memory.SubscriberConfig.Group", func(t testing.TB) { eventstest.New(t, eventstest.Config{}).Subscriber("") }},
			{"has ended: router.HandleMessage fn: is nil", func(t testing.TB) {
				k := users(t)
				_ = k.Router.HandleMessage("user.created", nil)
				k.Publish("user.created", user{})
				k.Settle()
			}},
			{"has failed: the port is taken", func(t testing.TB) {
				k := eventstest.New(t, eventstest.Config{})
				k.Run(func(ctx context.Context) error { <-ctx.Done(); return errors.New("the port is taken") })
				k.Stop()
			}},
		} {
			if got := failing(t, tt.fn); !strings.HasPrefix(got, "eventstest: ") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		}
	})
}
