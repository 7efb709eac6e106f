package eventstest_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/eventstest"
	"github.com/logistically/events/router"
)

// ids differ from run to run, and cmp.Diff varies its blanks on purpose.
var (
	uuids  = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}`)
	blanks = regexp.MustCompile("[ \t\u00a0]+")
)

func normal(text string) string {
	text = blanks.ReplaceAllString(uuids.ReplaceAllString(text, "ID"), " ")
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

func TestAFailedAssertionTellsWhatHappened(t *testing.T) {
	for _, tt := range []struct {
		name   string
		assert func(k *eventstest.Kit)
		want   string
	}{
		{"a body differs", func(k *eventstest.Kit) {
			eventstest.AssertPublished(k, "mail.sent", eventstest.Body(user{Name: "Ada", Age: 36}))
		}, `
			eventstest: no published "mail.sent" matches
			body (-want +got):
			eventstest_test.user{
			Name: "Ada",
			- Age: 36,
			+ Age: 0,
			}
			mail.sent ID
			+1h0m0s published to "mail-events": {"name":"Ada"}
			nobody receives from "mail-events"`},
		{"a condition does not hold", func(k *eventstest.Kit) {
			eventstest.AssertPublished(k, "mail.sent", eventstest.Where("is for Alan", func(ev events.Event[user]) bool { return ev.Body.Name == "Alan" }))
		}, `
			eventstest: no published "mail.sent" matches
			not so: is for Alan
			mail.sent ID
			+1h0m0s published to "mail-events": {"name":"Ada"}
			nobody receives from "mail-events"`},
		{"a body is of another type", func(k *eventstest.Kit) { eventstest.AssertPublished[int](k, "mail.sent") }, `
			eventstest: no published "mail.sent" matches
			events: decode mail.sent ID into int: json: cannot unmarshal object into Go value of type int (does the handler's type match what is published?)
			mail.sent ID
			+1h0m0s published to "mail-events": {"name":"Ada"}
			nobody receives from "mail-events"`},
		{"nothing of the type was published", func(k *eventstest.Kit) { eventstest.AssertPublished[user](k, "mail.bounced") }, `
			eventstest: no "mail.bounced" was published
			no event of this type was seen; there were: mail.sent (1), user.created (1), user.deleted (1)`},
		{"it was published", func(k *eventstest.Kit) { k.AssertNotPublished("mail.sent") }, `
			eventstest: a "mail.sent" was published
			mail.sent ID
			+1h0m0s published to "mail-events": {"name":"Ada"}
			nobody receives from "mail-events"`},
		{"it was not handled", func(k *eventstest.Kit) { k.AssertHandled("user.deleted") }, `
			eventstest: no "user.deleted" was handled
			user.deleted ID
			+0s published to "user-events": {"name":"Alan"}
			+0s delivered to group "test", attempt 1
			+0s dead-lettered by group "test": router: no handler for event type "user.deleted" (topic "user-events"): register one for it or for a pattern that matches it, set a Fallback, or drop such events with Config.Unknown = router.AckUnknown`},
		{"it was not dead-lettered", func(k *eventstest.Kit) { k.AssertDeadLettered("user.created", "busy") }, `
			eventstest: no "user.created" was dead-lettered because of "busy"
			user.created ID
			+0s published to "user-events": {"name":"Ada"}
			+0s delivered to group "test", attempt 1
			+0s handler made to fail: busy
			+0s to be retried after 1h0m0s: busy
			+1h0m0s delivered to group "test", attempt 2
			+1h0m0s handler returned nil
			+1h0m0s acked by group "test"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeTB{TB: t}
				k := users(f)
				check(t, router.Handle(k.Router, "user.created", sendMail(k)))
				k.FailNext("user.created", 1, events.RetryAfter(time.Hour, errors.New("busy")))
				k.Publish("user.created", user{Name: "Ada"})
				k.Publish("user.deleted", user{Name: "Alan"})
				k.Settle()
				tt.assert(k)
				if got, want := normal(f.log.String()), normal(tt.want); got != want {
					t.Errorf("got:\n%s\n\nwant:\n%s", got, want)
				}
			})
		})
	}
}

func TestWhatIsPendingIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTB{TB: t}
		k := users(f)
		check(t, router.Handle(k.Router, "user.created", sendMail(k)))
		k.FailNext("user.created", -1, events.RetryAfter(72*time.Hour, errors.New("busy")))
		k.Publish("user.created", user{Name: "Ada"})
		k.Publish("user.deleted", user{Name: "Ada"}) // Goes to the dead letters: that is settled.
		k.Wait()
		k.AssertNothingPending()
		const want = `
			1 of "user-events" are not settled by group "test"
			user.created ID
			+0s published to "user-events": {"name":"Ada"}
			+0s delivered to group "test", attempt 1
			+0s handler made to fail: busy
			+0s to be retried after 72h0m0s: busy`
		if got := normal(f.log.String()); got != normal("eventstest: "+strings.TrimSpace(want)) {
			t.Errorf("got:\n%s", got)
		}

		// It is never settled, so a wait for that has an end.
		got := normal(failing(t, func(testing.TB) {
			f.log.Reset()
			k.Settle()
		}) + f.log.String())
		if !strings.HasPrefix(got, `eventstest: Settle: after 168h0m0s 1 of "user-events" are not settled by group "test"`) || !strings.Contains(got, "+144h0m0s delivered to group \"test\", attempt 3") {
			t.Errorf("got:\n%s", got)
		}
	})
}

func TestALongStoryIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeTB{TB: t}
		k := users(f)
		for range 20 {
			k.Publish("user.created", user{Name: strings.Repeat("A", 10_000)})
		}
		k.AssertHandled("user.created")
		eventstest.AssertPublished(k, "user.created", eventstest.Where("is short", func(events.Event[user]) bool { return false }))
		if n := f.log.Len(); n > 10_000 || strings.Count(f.log.String(), "and 15 more") != 2 {
			t.Errorf("%d bytes:\n%s", n, f.log.String())
		}
	})
}

// cmp panics over unexported fields: that is a failure like any other.
func TestABodyThatCannotBeComparedDoesNotMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type secretive struct{ name string }
		f := &fakeTB{TB: t}
		k := users(f)
		k.Publish("user.created", secretive{"Ada"})
		eventstest.AssertPublished(k, "user.created", eventstest.Body(secretive{"Ada"}))
		if !strings.Contains(f.log.String(), "the body cannot be compared") {
			t.Errorf("got %s", f.log.String())
		}
	})
}
