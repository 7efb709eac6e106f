package redis_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func TestP7_RemovingIdleConsumersLeavesThoseWithPendingEntries(t *testing.T) {
	f := newFixture(t)
	f.publish("1", "2")
	f.group("g", "0")
	f.read("g", "holds", 1)
	f.ack("g", f.read("g", "idle", 1)...)
	before := f.now()
	f.eventually("they are idle", func() bool { return f.now().Sub(before) > 50*time.Millisecond })
	if names, err := f.inspector().RemoveIdleConsumers(t.Context(), "t", "g", time.Hour); err != nil || len(names) != 0 {
		t.Errorf("not idle for an hour: %v, %v", names, err)
	}
	if names, err := f.inspector().RemoveIdleConsumers(t.Context(), "t", "g", 50*time.Millisecond); err != nil || !slices.Equal(names, []string{"idle"}) {
		t.Errorf("removed %v, %v", names, err)
	}
	if c := f.client.XInfoConsumers(t.Context(), "t", "g").Val(); len(c) != 1 || c[0].Name != "holds" || c[0].Pending != 1 {
		t.Errorf("left %+v", c)
	}
}

func TestIdleConsumersOfRetriesAreRemovedToo(t *testing.T) {
	f := newFixture(t)
	f.publish("1")
	r := f.open(redis.SubscriberConfig{Consumer: "gone"}, "t")
	f.check(r.Settle(t.Context(), f.receive(r).Retry(0, nil)))
	f.check(r.Settle(t.Context(), f.receive(r).Ack()))
	redis.Crash(r)
	names, err := f.inspector().RemoveIdleConsumers(t.Context(), "t", "g", 0)
	if err != nil || !slices.Equal(names, []string{"gone"}) {
		t.Errorf("removed %v, %v", names, err)
	}
	for _, key := range []string{"t", "{t}:retry:g"} {
		if left := f.client.XInfoConsumers(t.Context(), key, "g").Val(); len(left) != 0 {
			t.Errorf("left on %s: %+v", key, left)
		}
	}
}

// Looking and deleting are one step: whoever reads in between would lose it.
func TestP7_RemovingConsumersWhileTheyReadLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const total, readers = 6000, 4
	f.fill(total)
	f.group("g", "0")
	read := make(chan []string, readers)
	var reading sync.WaitGroup
	for i := range readers {
		reading.Go(func() {
			var mine []string
			for {
				streams, err := f.client.XReadGroup(t.Context(), &goredis.XReadGroupArgs{Group: "g", Consumer: fmt.Sprint(i), Streams: []string{"t", ">"}, Count: 3, Block: -1}).Result()
				if errors.Is(err, goredis.Nil) {
					break
				}
				if err != nil {
					t.Error(err)
					break
				}
				var ids []string
				for _, m := range streams[0].Messages {
					ids = append(ids, m.ID)
				}
				mine = append(mine, ids[1:]...)
				// Some of a consumer's entries are settled, sometimes all that it has.
				if err := f.client.XAck(t.Context(), "t", "g", ids[0]).Err(); err != nil {
					t.Error(err)
				}
				if len(mine)%5 == 0 && len(mine) > 0 {
					if err := f.client.XAck(t.Context(), "t", "g", mine...).Err(); err != nil {
						t.Error(err)
					}
					mine = mine[:0]
				}
			}
			read <- mine
		})
	}
	stop, removed := make(chan struct{}), make(chan int, 1)
	inspector := f.inspector()
	go func() {
		n := 0
		for {
			names, err := inspector.RemoveIdleConsumers(t.Context(), "t", "g", 0)
			if err != nil {
				t.Error(err)
			}
			n += len(names)
			select {
			case <-stop:
				removed <- n
				return
			default:
			}
		}
	}()
	reading.Wait()
	close(stop)
	t.Logf("%d consumers removed", <-removed)
	var want int64
	for range readers {
		for _, id := range <-read {
			want++
			f.pendingOf(id) // fails if it is not pending
		}
	}
	if n := f.pending(); n != want {
		t.Errorf("%d entries are pending, want %d", n, want)
	}
}

func TestGroupAndConsumerHaveTheNamesConfigured(t *testing.T) {
	f := newFixture(t)
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "mailer", Consumer: "mailer-7", Block: 50 * time.Millisecond})
	f.check(err)
	r, err := sub.Receiver("t")
	f.check(err)
	f.publish("1")
	f.receive(r)
	consumers, err := f.inspector().Consumers(t.Context(), "t", "mailer")
	f.check(err)
	if len(consumers) != 1 || consumers[0].Name != "mailer-7" {
		t.Errorf("consumers %+v", consumers)
	}
	f.check(r.Close())
}

func TestConsumersAreNamedAfterHostAndProcessByDefault(t *testing.T) {
	f := newFixture(t)
	host, err := os.Hostname()
	f.check(err)
	for range 2 {
		r := f.receiver(redis.SubscriberConfig{Lease: time.Minute})
		f.publish("1")
		f.receive(r)
		redis.Crash(r)
	}
	consumers, err := f.inspector().Consumers(t.Context(), "t", "g")
	f.check(err)
	if len(consumers) != 2 {
		t.Fatalf("consumers %+v, want two names", consumers)
	}
	for _, c := range consumers {
		if prefix := fmt.Sprintf("%s-%d-", host, os.Getpid()); !strings.HasPrefix(c.Name, prefix) || len(c.Name) != len(prefix)+8 {
			t.Errorf("consumer %s, want %s and 8 letters", c.Name, prefix)
		}
	}
}
