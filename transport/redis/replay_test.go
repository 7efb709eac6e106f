package redis_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func TestMoveGroup(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	for name, tt := range map[string]struct {
		start string
		want  []string
	}{
		"replays from a time":   {redis.StartAt(at), []string{"2", "3", "new"}},
		"replays after an id":   {"1700000000000-0", []string{"3", "new"}},
		"replays all there is":  {"0", []string{"1", "2", "3", "new"}},
		"skips what is there":   {"$", []string{"new"}},
		"replays from the past": {redis.StartAt(time.Time{}), []string{"1", "2", "3", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			for _, e := range []struct{ id, name string }{{"1699999999999-0", "1"}, {"1700000000000-0", "2"}, {"1700000000001-0", "3"}} {
				f.check(f.client.XAdd(t.Context(), &goredis.XAddArgs{Stream: "t", ID: e.id, Values: []string{"_watermill_message_uuid", e.name, "payload", ""}}).Err())
			}
			r := f.open(redis.SubscriberConfig{}, "t")
			for range 3 {
				f.check(r.Settle(t.Context(), f.receive(r).Ack()))
			}
			f.check(r.Close())
			f.check(f.inspector().MoveGroup(t.Context(), "t", "g", tt.start))
			f.publish("new")
			r = f.open(redis.SubscriberConfig{}, "t")
			var got []string
			for range tt.want {
				d := f.receive(r)
				got = append(got, d.Message.UUID)
				if d.Attempt != 1 {
					t.Errorf("%s: attempt %d", d.Message.UUID, d.Attempt)
				}
				f.check(r.Settle(t.Context(), d.Ack()))
			}
			f.check(r.Close())
			if slices.Sort(got); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if n := f.pending(); n != 0 {
				t.Errorf("%d pending", n)
			}
		})
	}
}

func TestMovingAGroupForgetsNothingThatIsPending(t *testing.T) {
	f := newFixture(t)
	f.publish("1", "2", "3")
	f.group("g", "0")
	f.read("g", "crashed", 2)
	f.check(f.inspector().MoveGroup(t.Context(), "t", "g", "$"))
	f.publish("4")
	r := f.receiver(redis.SubscriberConfig{Lease: 50 * time.Millisecond, ReclaimInterval: 50 * time.Millisecond})
	var got []string
	for range 3 {
		got = append(got, f.receive(r).Message.UUID)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"1", "2", "4"}) {
		t.Errorf("got %v", got)
	}
}

func TestMoveGroupSaysWhatIsWrong(t *testing.T) {
	f := newFixture(t)
	f.publish("1")
	if err := f.inspector().MoveGroup(t.Context(), "t", "nobody", "0"); !errors.Is(err, redis.ErrNoGroup) {
		t.Errorf("got %v", err)
	}
	if err := f.inspector().MoveGroup(t.Context(), "nothing", "g", "0"); !errors.Is(err, redis.ErrNoGroup) {
		t.Errorf("got %v", err)
	}
	f.group("g", "0")
	for _, start := range []string{"", "yesterday", "-1"} {
		if _, ok := errors.AsType[*events.ConfigError](f.inspector().MoveGroup(t.Context(), "t", "g", start)); !ok {
			t.Errorf("%q is taken", start)
		}
	}
}
