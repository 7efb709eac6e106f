package eventstest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/eventstest"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
)

type user struct {
	Name string `json:"name"`
	Age  int    `json:"age,omitempty"`
}

// users is a kit whose router receives what concerns users.
func users(t testing.TB) *eventstest.Kit {
	return eventstest.New(t, eventstest.Config{Router: router.Config{Topics: []string{"user-events"}}})
}

// welcoming is users with a handler that publishes a welcome for each new user.
func welcoming(t *testing.T) *eventstest.Kit {
	t.Helper()
	k := users(t)
	check(t, router.Handle(k.Router, "user.created", sendMail(k)))
	return k
}

func TestEventsArePublishedHandledAndSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := welcoming(t)
		id := k.Publish("user.created", user{Name: "Ada"})
		k.Wait()
		k.AssertHandled("user.created")
		k.AssertNothingPending()
		k.AssertNotPublished("user.deleted")
		welcome := eventstest.AssertPublished(k, "mail.sent", eventstest.Body(user{Name: "Ada"}),
			eventstest.Where("comes from this service", func(ev events.Event[user]) bool { return ev.Origin == "test" }))
		if welcome.CausationID != id {
			t.Errorf("the cause is %q, want %q", welcome.CausationID, id)
		}
		k.Publish("user.created", user{Name: "Alan"})
		k.Settle()
		if all := eventstest.Published[user](k, "mail.sent"); len(all) != 2 || all[1].Body.Name != "Alan" {
			t.Errorf("published %+v", all)
		}
	})
}

// The best of some runs, as the machine may be busy with something else.
func TestEightRetriesOver72HoursEndInTheDeadLettersWithin50msOfRealTime(t *testing.T) {
	const retries, every, limit = 8, 9 * time.Hour, 50 * time.Millisecond
	var took time.Duration
	for range 20 {
		begun := time.Now()
		synctest.Test(t, func(t *testing.T) {
			k := users(t)
			poisonQueue, err := middleware.PoisonQueue(middleware.PoisonConfig{MaxDeliveries: retries + 1})
			check(t, err)
			k.Router.Use(poisonQueue)
			var runs []time.Duration
			published := time.Now()
			check(t, router.Handle(k.Router, "user.created", func(context.Context, events.Event[user]) error {
				runs = append(runs, time.Since(published))
				return events.RetryAfter(every, errors.New("the mail server is down"))
			}))
			k.Publish("user.created", user{Name: "Ada"})
			k.Settle()
			k.AssertDeadLettered("user.created", "the mail server is down")
			k.AssertNothingPending()
			if len(runs) != retries+1 || runs[retries] != 72*time.Hour {
				t.Errorf("runs after %v", runs)
			}
		})
		if took = time.Since(begun); took < limit {
			t.Logf("72 hours in %v", took)
			return
		}
	}
	t.Errorf("72 hours took %v, want less than %v", took, limit)
}

func TestWaitLeavesARetryThatIsNotDueAndSettleLetsTimeRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := welcoming(t)
		k.FailNext("user.created", 1, events.RetryAfter(time.Hour, errors.New("busy")))
		k.Publish("user.created", user{Name: "Ada"})
		begun := time.Now()
		k.Wait()
		if s := k.Router.Stats(); s.Retried != 1 || time.Since(begun) != 0 {
			t.Errorf("after Wait: %+v, %v later", s, time.Since(begun))
		}
		k.Settle()
		if s := k.Router.Stats(); s.Acked != 1 || time.Since(begun) != time.Hour {
			t.Errorf("after Settle: %+v, %v later", s, time.Since(begun))
		}
	})
}

func TestAServiceWithARouterOfItsOwnRunsOnTheKit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := eventstest.New(t, eventstest.Config{})
		if k.Router != nil {
			t.Error("there is a router without topics")
		}
		k.Publish("user.created", user{Name: "early"}) // There is nobody yet to receive it.
		r, err := router.New(router.Config{Subscriber: k.Subscriber("service"), Topics: []string{"user-events"}})
		check(t, err)
		r.Use(k.Middleware())
		check(t, router.Handle(r, "user.created", func(context.Context, events.Event[user]) error { return nil }))
		k.FailNext("user.created", 1, nil)
		k.Run(r.Run)
		k.Settle()
		k.AssertHandled("user.created")
		if s := r.Stats(); s.Acked != 1 || s.Retried != 1 {
			t.Errorf("%+v", s)
		}
		k.Stop()
		k.Publish("user.created", user{Name: "late"})
		k.Wait()
		if s := r.Stats(); s.Received != 2 {
			t.Errorf("received after Stop: %+v", s)
		}
	})
}

func TestWatermillsRouterRunsOnTheKit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := eventstest.New(t, eventstest.Config{})
		r, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
		check(t, err)
		r.AddMiddleware(k.Middleware())
		r.AddHandler("double", "user-events", k.Subscriber("service"), "mail-events", k.Publisher, func(msg *message.Message) ([]*message.Message, error) {
			mail, err := k.Events.Message(msg.Context(), "mail.sent", user{Name: "Ada"})
			return []*message.Message{mail}, err
		})
		k.FailNext("user.created", 1, nil)
		k.Run(r.Run)
		id := k.Publish("user.created", user{Name: "Ada"})
		k.Settle()
		k.AssertHandled("user.created")
		eventstest.AssertPublished(k, "mail.sent", eventstest.Body(user{Name: "Ada"}))
		if got := k.Timeline(id); strings.Count(got, "delivered") != 2 || strings.Count(got, "made to fail") != 1 {
			t.Errorf("got:\n%s", got)
		}
	})
}

func TestStopReleasesWhatIsInFlightAndItStaysPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := users(t)
		check(t, k.Router.Fallback(func(msg *message.Message) error {
			<-msg.Context().Done()
			return context.Cause(msg.Context())
		}))
		id := k.Publish("user.created", user{})
		k.Wait()
		k.Stop()
		if got := k.Timeline(id); !strings.Contains(got, "released by group") {
			t.Errorf("got:\n%s", got)
		}
	})
}

func TestAdvanceLetsABufferFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := eventstest.New(t, eventstest.Config{})
		buffer, err := batching.NewPublisher(k.Publisher, batching.Config{Mode: batching.Buffered, MaxWait: time.Minute})
		check(t, err)
		publisher, err := events.NewPublisher(buffer, events.PublisherConfig{Origin: "service"})
		check(t, err)
		check(t, publisher.Publish(t.Context(), "user.viewed", user{}))
		k.Settle()
		k.AssertNotPublished("user.viewed")
		k.Advance(time.Minute)
		eventstest.AssertPublished[user](k, "user.viewed")
		check(t, buffer.Shutdown(t.Context()))
	})
}

func TestAPlainWatermillSubscriberIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := eventstest.New(t, eventstest.Config{})
		messages, err := k.Subscriber("watcher").Subscribe(t.Context(), "plain")
		check(t, err)
		check(t, k.Publisher.Publish("plain", message.NewMessage("1", []byte("{}"))))
		(<-messages).Ack()
		k.Settle()
		k.AssertHandled("plain")
	})
}

func TestManyEventsAreSettled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := welcoming(t)
		k.FailNext("user.created", 100, nil)
		for n := range 500 {
			k.Publish("user.created", user{Name: fmt.Sprint(n)})
		}
		k.Settle()
		if all := eventstest.Published[user](k, "mail.sent"); len(all) != 500 {
			t.Errorf("%d mails", len(all))
		}
	})
}

// sendMail handles new users by publishing that a mail was sent.
func sendMail(k *eventstest.Kit) func(context.Context, events.Event[user]) error {
	return func(ctx context.Context, ev events.Event[user]) error {
		return k.Events.Publish(ctx, "mail.sent", user{Name: ev.Body.Name})
	}
}
