package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// keyed makes a delivery "key/n" whose key is key.
func keyed(key string, n int) *transport.Delivery {
	d := delivery("order.placed")
	d.Message.UUID = fmt.Sprintf("%s/%d", key, n)
	d.ID = d.Message.UUID
	return d
}

func keyOf(msg *message.Message) string {
	key, _, _ := strings.Cut(msg.UUID, "/")
	return key
}

// diary records what happens, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) all() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.lines)
}

// of returns the lines about one key.
func (d *diary) of(key string) (lines []string) {
	for _, line := range d.all() {
		if strings.HasPrefix(line, key+"/") {
			lines = append(lines, line)
		}
	}
	return lines
}

func outcomesOf(f *fake, key string) (all []string) {
	for _, o := range f.settled() {
		if strings.HasPrefix(o.Delivery.ID, key+"/") {
			all = append(all, o.Delivery.ID+" "+o.Settlement.String())
		}
	}
	f.mu.Lock()
	closed := f.closed > 0
	f.mu.Unlock()
	if closed {
		for _, d := range f.released() {
			if strings.HasPrefix(d.ID, key+"/") {
				all = append(all, d.ID+" release")
			}
		}
	}
	return all
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func ordered(t *testing.T, r *Router, change ...func(*LaneConfig)) *Group {
	t.Helper()
	cfg := LaneConfig{Name: "orders", OrderBy: keyOf}
	for _, c := range change {
		c(&cfg)
	}
	lane, err := r.Lane(cfg)
	must(t, err)
	return lane
}

func every(delay time.Duration) func(*Config) {
	return func(c *Config) { c.RetryDelay = func(int) time.Duration { return delay } }
}

var errBusy = errors.New("busy")

func TestOrderedLane(t *testing.T) {
	bubble(t, "handles messages of a key one after the other and keys in parallel", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		begun := time.Now()
		var done diary
		handle(t, ordered(t, r), "order.*", func(msg *message.Message) error {
			<-time.After(time.Second)
			done.add(fmt.Sprintf("%s at %s", msg.UUID, time.Since(begun)))
			return nil
		})
		f.in <- keyed("a", 1)
		f.in <- keyed("a", 2)
		f.in <- keyed("b", 1)
		f.in <- keyed("a", 3)
		stop := start(t, r)
		<-time.After(10 * time.Second)
		must(t, stop())
		want(t, done.of("a"), "a/1 at 1s", "a/2 at 2s", "a/3 at 3s")
		want(t, done.of("b"), "b/1 at 1s")
	})
	bubble(t, "lets a failing key wait alone, without a worker, and keeps its order when it goes on", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, every(time.Minute))
		begun := time.Now()
		var done diary
		attempts := 0
		handle(t, ordered(t, r, func(c *LaneConfig) { c.Concurrency = 1 }), "order.*", func(msg *message.Message) error {
			done.add(fmt.Sprintf("%s at %s", msg.UUID, time.Since(begun)))
			if d, _ := transport.DeliveryFromContext(msg.Context()); msg.UUID == "a/1" {
				if attempts++; d.Attempt != attempts {
					t.Errorf("attempt %d, want %d", d.Attempt, attempts)
				}
				if attempts < 3 {
					return errBusy
				}
			}
			return nil
		})
		for n := range 3 {
			f.in <- keyed("a", n+1)
			f.in <- keyed("b", n+1)
		}
		stop := start(t, r)
		synctest.Wait()
		if s := r.Status().Lanes[1]; s.Waiting != 2 || s.Delayed != 1 || s.Running != 0 {
			t.Errorf("status %+v", s)
		}
		<-time.After(10 * time.Minute)
		must(t, stop())
		want(t, done.of("a"), "a/1 at 0s", "a/1 at 1m0s", "a/1 at 2m0s", "a/2 at 2m0s", "a/3 at 2m0s")
		want(t, done.of("b"), "b/1 at 0s", "b/2 at 0s", "b/3 at 0s")
		want(t, outcomesOf(f, "a"), "a/1 ack", "a/2 ack", "a/3 ack")
	})
	bubble(t, "waits as long as events.RetryAfter says", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		begun, calls := time.Now(), 0
		handle(t, ordered(t, r), "order.*", func(*message.Message) error {
			if calls++; calls == 1 {
				return events.RetryAfter(time.Hour, errBusy)
			}
			if since := time.Since(begun); since != time.Hour {
				t.Errorf("after %s", since)
			}
			return nil
		})
		f.in <- keyed("a", 1)
		stop := start(t, r)
		<-time.After(2 * time.Hour)
		must(t, stop())
		want(t, outcomesOf(f, "a"), "a/1 ack")
	})
	bubble(t, "skips a message whose attempts are used up", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, every(time.Second))
		handle(t, ordered(t, r, func(c *LaneConfig) { c.MaxAttempts = 3 }), "order.*", failing("a/1"))
		f.in <- keyed("a", 1)
		f.in <- keyed("a", 2)
		stop := start(t, r)
		<-time.After(time.Minute)
		must(t, stop())
		want(t, outcomesOf(f, "a"), "a/1 dead-letter", "a/2 ack")
		if md := f.settled()[0].Metadata; md[transport.MetadataFailureAttempts] != "3" || md[transport.MetadataFailureHandler] != "order.*" {
			t.Errorf("metadata %v", md)
		}
	})
	bubble(t, "makes dead letters of the rest of a key in order if it is told to", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, every(time.Second))
		lane := ordered(t, r, func(c *LaneConfig) { c.MaxAttempts, c.OnFailure = 2, DeadLetterKey })
		handle(t, lane, "order.*", failing("a/1"))
		for n := range 3 {
			f.in <- keyed("a", n+1)
		}
		stop := start(t, r)
		<-time.After(time.Minute)
		f.in <- keyed("a", 4)
		synctest.Wait()
		must(t, stop())
		want(t, outcomesOf(f, "a"), "a/1 dead-letter", "a/2 dead-letter", "a/3 dead-letter", "a/4 ack")
		if o := f.settled()[1]; !errors.Is(o.Cause, ErrKeyGivenUp) || !errors.Is(o.Cause, errBusy) {
			t.Errorf("cause %v", o.Cause)
		}
	})
	bubble(t, "gives up nothing of a parked key, not even for a permanent error, and releases it in order", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, every(time.Second))
		lane := ordered(t, r, func(c *LaneConfig) { c.MaxWaiting, c.OnFailure = 1, ParkKey })
		handle(t, lane, "order.*", func(msg *message.Message) error {
			if keyOf(msg) == "a" {
				return events.Permanent(errBusy)
			}
			return nil
		})
		for n := range 4 {
			f.in <- keyed("a", n+1)
		}
		f.in <- keyed("b", 1)
		stop := start(t, r)
		<-time.After(10*time.Second + time.Millisecond)
		must(t, stop())
		want(t, outcomesOf(f, "a"), "a/1 release", "a/2 release", "a/3 release", "a/4 release")
		want(t, outcomesOf(f, "b"), "b/1 ack")
		for _, d := range f.released() {
			if d.ID == "a/1" && d.Attempt != 12 || d.ID == "a/2" && d.Attempt != 1 {
				t.Errorf("%s has attempt %d", d.ID, d.Attempt)
			}
		}
		if s := r.Stats(); s.Released != 4 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "skips the failed message when too many wait behind it", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, every(time.Hour))
		handle(t, ordered(t, r, func(c *LaneConfig) { c.MaxWaiting = 2 }), "order.*", failing("a/1"))
		for n := range 3 {
			f.in <- keyed("a", n+1)
		}
		stop := start(t, r)
		synctest.Wait()
		want(t, outcomesOf(f, "a"))
		f.in <- keyed("a", 4)
		synctest.Wait()
		want(t, outcomesOf(f, "a"), "a/1 dead-letter", "a/2 ack", "a/3 ack", "a/4 ack")
		must(t, stop())
	})
	bubble(t, "goes on with a key whose failed message has gone to another consumer", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, every(time.Minute))
		handle(t, ordered(t, r), "order.*", failing("a/1"))
		d := keyed("a", 1)
		ctx, lose := contextWithCause(t)
		d.Message.SetContext(ctx)
		f.in <- d
		f.in <- keyed("a", 2)
		stop := start(t, r)
		synctest.Wait()
		lose(transport.ErrLeaseLost)
		<-time.After(2 * time.Minute)
		must(t, stop())
		if o := f.settled(); len(o) != 1 || o[0].Delivery.ID != "a/2" {
			t.Errorf("settled %v", o)
		}
		if s := r.Stats(); s.LeaseLost != 1 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
	bubble(t, "handles messages without a key as they come", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		var now, most int
		var mu sync.Mutex
		handle(t, ordered(t, r), "order.*", func(*message.Message) error {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return nil
		})
		for n := range 5 {
			f.in <- keyed("", n)
		}
		stop := start(t, r)
		<-time.After(time.Minute)
		must(t, stop())
		if most != 5 {
			t.Errorf("%d at a time", most)
		}
	})
	bubble(t, "retries through the transport what its key function panics for", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		lane := ordered(t, r, func(c *LaneConfig) { c.OrderBy = func(msg *message.Message) string { return msg.Metadata["x"][:1] } })
		handle(t, lane, "order.*", nothing)
		good := keyed("b", 1)
		good.Message.Metadata["x"] = "b"
		f.in <- keyed("a", 1)
		f.in <- good
		stop := start(t, r)
		synctest.Wait()
		must(t, stop())
		want(t, outcomesOf(f, "a"), "a/1 retry")
		want(t, outcomesOf(f, "b"), "b/1 ack")
		for _, o := range f.settled() {
			if _, ok := errors.AsType[*events.PanicError](o.Cause); o.Delivery.ID == "a/1" && (!ok || !strings.Contains(o.Cause.Error(), `OrderBy of lane "orders"`)) {
				t.Errorf("cause %v", o.Cause)
			}
		}
	})
	bubble(t, "at shutdown leaves what waits for a running message, and that if it fails, for Close to release in order", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		handle(t, ordered(t, r), "order.*", func(msg *message.Message) error {
			<-time.After(10 * time.Second)
			return errBusy
		})
		for n := range 3 {
			f.in <- keyed("a", n+1)
		}
		stop := start(t, r)
		synctest.Wait()
		ended := make(chan error, 1)
		go func() { ended <- stop() }()
		<-time.After(5 * time.Second)
		want(t, outcomesOf(f, "a"))
		must(t, <-ended)
		want(t, outcomesOf(f, "a"), "a/1 release", "a/2 release", "a/3 release")
		if a := f.released()[0].Attempt; a != 2 {
			t.Errorf("the failed attempt is not counted: attempt %d", a)
		}
	})
}

// failing fails for one message.
func failing(id string) message.NoPublishHandlerFunc {
	return func(msg *message.Message) error {
		if msg.UUID == id {
			return errBusy
		}
		return nil
	}
}
