package redis_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func (f *fixture) publisher(client goredis.UniversalClient) *redis.Publisher {
	f.t.Helper()
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	f.check(err)
	return pub
}

func numbered(n int) []*message.Message {
	msgs := make([]*message.Message, n)
	for i := range msgs {
		msgs[i] = message.NewMessage(fmt.Sprint(i), []byte(strings.Repeat("x", 50)))
	}
	return msgs
}

// reported returns the ids of the messages that an error of Publish lists.
func reported(t *testing.T, err error) (ids []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	failed, ok := errors.AsType[*events.PublishError](err)
	if !ok || len(failed.Failed) == 0 {
		t.Fatalf("publish: %v, want an *events.PublishError with messages", err)
	}
	for _, m := range failed.Failed {
		if m.Err == nil {
			t.Errorf("%s failed without an error", m.Message.UUID)
		}
		ids = append(ids, m.Message.UUID)
	}
	return ids
}

// stored counts the entries of a stream by the ids of their messages.
func (f *fixture) stored(key string) map[string]int {
	f.t.Helper()
	ids := map[string]int{}
	for _, e := range f.entries(key) {
		id, _ := e.Values["_watermill_message_uuid"].(string)
		ids[id]++
	}
	return ids
}

// A page of messages is cut after every so many bytes, on the way there or on the
// way back. What is not reported is stored; what is reported may be.
func TestPublishReportsWhatIsNotStoredWhereverTheConnectionIsCut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := newProxy(t, f.server.Addr)
	client := p.client(once)
	pub := f.publisher(client)
	const n, step = 10, 23
	for w, total := range map[way]int{toServer: 1500, toClient: 900} {
		partly := 0
		for bytes := 0; bytes <= total; bytes += step {
			f.check(f.client.Del(t.Context(), "t").Err())
			f.eventually("there is a connection", func() bool { return client.Ping(t.Context()).Err() == nil })
			p.cutAfter(w, bytes)
			failed := reported(t, pub.Publish("t", numbered(n)...))
			if len(failed) > 0 && len(failed) < n {
				partly++
			}
			if w == toClient && len(failed) > 0 { // All that was sent is done, if not at once.
				f.eventually("the server has done what it was sent", func() bool { return len(f.stored("t")) == n })
			}
			stored := f.stored("t")
			for _, msg := range numbered(n) {
				if times := stored[msg.UUID]; times > 1 || times == 0 && !slices.Contains(failed, msg.UUID) {
					t.Errorf("cut after %d bytes: %s is stored %d times, reported: %v", bytes, msg.UUID, times, failed)
				}
			}
		}
		if partly == 0 {
			t.Errorf("way %d: no page was ever cut in its middle", w)
		}
	}
}

// As above for single messages of many callers, which share round trips.
func TestConcurrentCallersOfPublishAreEachToldWhatBecameOfTheirsWhenConnectionsAreCut(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*goredis.Options){"once": once, "again": func(*goredis.Options) {}} {
		f := newFixture(t)
		p := newProxy(t, f.server.Addr)
		pub := f.publisher(p.client(change, func(o *goredis.Options) { o.ReadTimeout = 500 * time.Millisecond }))
		const callers, each = 32, 30
		n := 0
		p.obey(func(cmd []string) fate {
			if n++; cmd[0] == "xadd" && n%41 == 0 {
				return cuts[n/41%len(cuts)]
			}
			return passed
		})
		failed := make(chan string, callers*each)
		var calling sync.WaitGroup
		for c := range callers {
			calling.Go(func() {
				for i := range each {
					id := fmt.Sprintf("%d-%d", c, i)
					if err := pub.Publish("t", message.NewMessage(id, nil)); err != nil {
						failed <- id
					}
				}
			})
		}
		calling.Wait()
		close(failed)
		stored, said := f.stored("t"), map[string]bool{}
		for id := range failed {
			said[id] = true
		}
		for c := range callers {
			for i := range each {
				id := fmt.Sprintf("%d-%d", c, i)
				if times := stored[id]; times == 0 && !said[id] || times > 1 && name == "once" {
					t.Errorf("%s: %s is stored %d times, reported %v", name, id, times, said[id])
				}
			}
		}
		if name == "once" && len(said) == 0 {
			t.Error("no connection was ever cut")
		}
		t.Logf("%s: of %d messages %d are stored, %d were reported", name, callers*each, len(stored), len(said))
	}
}

func TestPublishReportsWhatTheServerDoesNotAnswerInTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := newProxy(t, f.server.Addr)
	pub := f.publisher(p.client(once, func(o *goredis.Options) { o.ReadTimeout = 200 * time.Millisecond }))
	n := 0
	p.obey(func(cmd []string) fate {
		if cmd[0] == "xadd" {
			if n++; n > 4 {
				return neverAnswered
			}
		}
		return passed
	})
	failed := reported(t, pub.Publish("t", numbered(10)...))
	if want := []string{"4", "5", "6", "7", "8", "9"}; !slices.Equal(failed, want) {
		t.Errorf("reported %v, want %v", failed, want)
	}
	p.obey(nil)
	f.check(pub.Publish("t", message.NewMessage("after", nil)))
}

// The server runs out of memory in the middle of a page.
func TestPublishReportsExactlyWhatDidNotFitIntoMemory(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
	msgs := make([]*message.Message, 1000)
	for i := range msgs {
		msgs[i] = message.NewMessage(fmt.Sprint(i), make([]byte, 20<<10))
	}
	err := f.pub.Publish("t", msgs...)
	failed := reported(t, err)
	stored := f.stored("t")
	if len(failed) == 0 || len(stored) == 0 || len(failed)+len(stored) != len(msgs) {
		t.Errorf("%d reported, %d stored of %d", len(failed), len(stored), len(msgs))
	}
	for _, id := range failed {
		if stored[id] != 0 {
			t.Errorf("%s is reported and stored", id)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "raise maxmemory") {
		t.Errorf("publish: %v", err)
	}
	f.check(f.client.ConfigSet(t.Context(), "maxmemory", "0").Err())
	f.check(f.pub.Publish("t", msgs[len(msgs)-1]))
}

// One of two topics is not the user's to write to; a page of a Table may mix them.
func TestPublishReportsExactlyWhatTheUserMayNot(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pub := f.publisher(f.user("resetkeys", "~mine", "+@all"))
	f.check(pub.Publish("mine", numbered(3)...))
	err := pub.Publish("yours", numbered(3)...)
	if failed := reported(t, err); len(failed) != 3 || !strings.Contains(err.Error(), "allow the user this command on yours") {
		t.Errorf("publish: %v", err)
	}
	if n := len(f.stored("mine")); n != 3 {
		t.Errorf("%d stored", n)
	}
}
