package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/batching/spool"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// storm is publishers that go on while their server is killed and started again.
type storm struct {
	t        *testing.T
	server   *redisserver.Server
	batches  *batching.Publisher
	spooled  *spool.Publisher // nil without one
	accepted sync.Map         // id -> nothing
	count    atomic.Int64
	stop     chan struct{}
}

const (
	stormKeys  = 16
	stormKills = 3
)

func startStorm(t *testing.T, mode batching.Mode, withSpool bool) *storm {
	t.Helper()
	s := &storm{t: t, stop: make(chan struct{})}
	// What the server has acknowledged outlives it.
	s.server = redisserver.New(t, "--appendonly", "yes", "--appendfsync", "always")
	client := goredis.NewClient(&goredis.Options{Addr: s.server.Addr, MaxRetries: -1, DialerRetries: 1})
	t.Cleanup(func() { s.check(client.Close()) })
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	s.check(err)
	var next message.Publisher = pub
	quiet := slog.New(slog.DiscardHandler)
	if withSpool {
		s.spooled, err = spool.NewPublisher(next, spool.Config{Dir: t.TempDir(), Sync: spool.SyncNever, RetryInterval: 10 * time.Millisecond, Logger: quiet})
		s.check(err)
		next = s.spooled
	}
	s.batches, err = batching.NewPublisher(next, batching.Config{Mode: mode, MaxSize: 50, MaxWait: stormWait(mode), MaxBuffered: 2000, Logger: quiet})
	s.check(err)
	return s
}

func stormWait(mode batching.Mode) time.Duration {
	if mode == batching.Buffered {
		return 2 * time.Millisecond
	}
	return 0
}

func (s *storm) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// publish has one caller publish the messages of a key, one after the other. One
// that was refused is tried again, as a new message would overtake it.
func (s *storm) publish(key int) {
	for n := 0; ; n++ {
		id := fmt.Sprintf("%d %d", key, n)
		for {
			select {
			case <-s.stop:
				return
			default:
			}
			m := message.NewMessage(id, []byte("{}"))
			m.Metadata[events.MetadataType] = fmt.Sprint("order.key", key)
			if err := s.batches.Publish("t", m); err == nil {
				break
			} else if _, ok := errors.AsType[*events.PublishError](err); !ok {
				s.t.Errorf("error %v", err)
				return
			}
		}
		s.accepted.Store(id, nil)
		s.count.Add(1)
	}
}

// retry makes room while the server is up.
func (s *storm) retry() {
	for {
		select {
		case <-s.stop:
			return
		case <-time.After(20 * time.Millisecond):
			_ = s.batches.RetryFailed(s.t.Context()) // What fails stays listed.
		}
	}
}

func TestWhatIsAcceptedIsStoredOrFailedOrSpooledThoughTheServerIsKilled(t *testing.T) {
	logging.Disable() // go-redis tells of each dial that is refused.
	defer logging.Enable()
	for _, tt := range []struct {
		name  string
		mode  batching.Mode
		spool bool
		order bool // holds for all that is stored
	}{
		{"wait", batching.Wait, false, true},
		{"wait, spool", batching.Wait, true, true},
		{"buffered", batching.Buffered, false, false}, // What failed comes after what did not.
		{"buffered, spool", batching.Buffered, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startStorm(t, tt.mode, tt.spool)
			var running sync.WaitGroup
			for key := range stormKeys {
				running.Go(func() { s.publish(key) })
			}
			running.Go(s.retry)
			more := func() {
				from := s.count.Load()
				until(t, "more is published", func() bool { return s.count.Load() > from+500 })
			}
			more()
			for range stormKills {
				s.server.Kill()
				if tt.spool {
					until(t, "something is spooled", func() bool { return s.spooled.Stats().Messages > 0 })
				}
				s.check(s.server.Restart(t.Context()))
				more()
			}
			s.server.Kill() // What is not stored now has to be somewhere else.
			close(s.stop)
			s.check(s.batches.Close()) // It ends the waiting for room, too.
			running.Wait()
			elsewhere := s.elsewhere()
			s.check(s.server.Restart(t.Context()))
			s.reckon(elsewhere, tt.order)
		})
	}
}

// elsewhere returns how many messages are kept as failed, or spooled.
func (s *storm) elsewhere() int {
	n := len(s.batches.FailedMessages())
	if s.spooled != nil {
		n += s.spooled.Stats().Messages
	}
	return n
}

// reckon counts what the server has before and after it gets what was elsewhere.
func (s *storm) reckon(elsewhere int, ordered bool) {
	s.t.Helper()
	accepted := int(s.count.Load())
	missing := s.missing(s.stored(false))
	if len(missing) > elsewhere {
		s.t.Errorf("%d of %d accepted messages are not stored, %d are kept", len(missing), accepted, elsewhere)
	}
	until(s.t, "what failed is stored", func() bool { return s.batches.RetryFailed(s.t.Context()) == nil })
	if s.spooled != nil {
		s.check(s.spooled.Flush(s.t.Context()))
		s.check(s.spooled.Close())
	}
	for _, id := range s.missing(s.stored(ordered)) {
		s.t.Errorf("%s was accepted and is lost", id)
	}
	s.t.Logf("%d accepted, %d of them not stored when the server was killed last, %d kept", accepted, len(missing), elsewhere)
}

func (s *storm) missing(stored map[string]int) (ids []string) {
	s.accepted.Range(func(id, _ any) bool {
		if stored[id.(string)] == 0 {
			ids = append(ids, id.(string))
		}
		return true
	})
	return ids
}

// stored returns how often each message is in the stream. A message that is there
// twice, because its acknowledgement was lost, counts where it is first.
func (s *storm) stored(ordered bool) map[string]int {
	s.t.Helper()
	client := goredis.NewClient(&goredis.Options{Addr: s.server.Addr, ReadTimeout: time.Minute})
	defer client.Close()
	entries, err := client.XRange(context.Background(), "t", "-", "+").Result()
	s.check(err)
	times, latest := map[string]int{}, map[int]int{}
	for _, e := range entries {
		id := e.Values["_watermill_message_uuid"].(string)
		if times[id]++; times[id] > 1 {
			continue
		}
		var key, n int
		_, err := fmt.Sscan(id, &key, &n)
		s.check(err)
		if ordered && n < latest[key] {
			s.t.Errorf("key %d: %d is stored after %d", key, n, latest[key])
		}
		latest[key] = n
	}
	return times
}
