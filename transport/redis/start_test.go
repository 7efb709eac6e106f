package redis_test

import (
	"testing"
	"time"

	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func TestAGroupBeginsWhereItIsTold(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	for name, tt := range map[string]struct{ start, first string }{
		"at the beginning":             {"0", "early"},
		"at the beginning by default":  {"", "early"},
		"at the end":                   {"$", "new"},
		"after an entry":               {"1699999999999-0", "on time"},
		"after an entry of many":       {"1700000000000-0", "on time too"},
		"after a time in milliseconds": {"1700000000000", "on time too"},
		"at a time":                    {redis.StartAt(at), "on time"},
		"within a millisecond":         {redis.StartAt(at.Add(time.Microsecond)), "on time"},
		"at a later time":              {redis.StartAt(at.Add(time.Millisecond)), "late"},
		"before all":                   {redis.StartAt(time.Time{}), "early"},
		"at a time to come":            {redis.StartAt(time.Now().Add(-time.Second)), "new"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			for _, e := range []struct{ id, name string }{
				{"1699999999999-0", "early"}, {"1700000000000-0", "on time"}, {"1700000000000-1", "on time too"}, {"1700000000001-0", "late"},
			} {
				values := []string{"_watermill_message_uuid", e.name, "payload", ""}
				f.check(f.client.XAdd(t.Context(), &goredis.XAddArgs{Stream: "t", ID: e.id, Values: values}).Err())
			}
			r := f.receiver(redis.SubscriberConfig{Start: tt.start})
			f.publish("new")
			if d := f.receive(r); d.Message.UUID != tt.first {
				t.Errorf("the first is %s, want %s", d.Message.UUID, tt.first)
			}
		})
	}
}

func TestAGroupThatBeginsAtTheEndOfABacklogWarnsOnce(t *testing.T) {
	f := newFixture(t)
	f.receiver(redis.SubscriberConfig{Start: "$"})
	if text := f.log.String(); text != "" {
		t.Errorf("without a backlog: %s", text)
	}
	other := newFixture(t)
	other.publish("1", "2", "3")
	for range 2 { // The second one finds the group there.
		other.receiver(redis.SubscriberConfig{Start: "$"})
	}
	if n := other.log.count("will not see the entries"); n != 1 || other.log.count("entries=3") != 1 {
		t.Errorf("warned %d times:\n%s", n, other.log)
	}
	third := newFixture(t)
	third.publish("1")
	third.receiver(redis.SubscriberConfig{Start: "0"})
	if n := third.log.count("will not see"); n != 0 {
		t.Errorf("a group that sees all was warned about:\n%s", third.log)
	}
}
