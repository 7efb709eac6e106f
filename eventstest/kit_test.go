package eventstest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/eventstest"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
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
