package router

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// busy is a middleware that makes each lot busy, before any of it is handled, until it
// is let go.
type busy struct {
	release chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	handled []string // of those behind it
}

func (b *busy) middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		d, _ := transport.DeliveryFromContext(msg.Context())
		lot, _ := d.Lot()
		lot.LookAhead(b, func(lot *transport.Lot) {
			begun := make(chan struct{})
			b.running.Go(func() {
				lot.While(func() {
					close(begun)
					<-b.release
				})
			})
			<-begun
		})
		b.mu.Lock()
		defer b.mu.Unlock()
		b.handled = append(b.handled, msg.Metadata["n"])
		return next(msg)
	}
}

func (b *busy) saw() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.handled)
}

// give delivers events of a type that are numbered.
func (f *fake) give(eventType string, from, to int) {
	for i := from; i < to; i++ {
		d := delivery(eventType)
		d.Message.Metadata["n"] = fmt.Sprint(i)
		f.in <- d
	}
}

func newBusy(t *testing.T) (b *busy, f *fake, r *Router, other *int) {
	t.Helper()
	b, f, other = &busy{release: make(chan struct{})}, newFake(), new(int)
	r = newRouter(t, f, func(c *Config) { c.Concurrency, c.Prefetch = 1, 10 })
	handle(t, r, "a", func(*message.Message) error { return nil }, b.middleware)
	handle(t, r, "b", func(*message.Message) error { *other++; return nil })
	return b, f, r, other
}

func TestDeliveriesOfABusyLotWaitAndNobodyElseDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, r, other := newBusy(t)
		stop := start(t, r)
		f.give("a", 0, 1)
		synctest.Wait() // From now on it looks ahead.
		f.give("a", 1, 4)
		f.give("b", 4, 6)
		synctest.Wait()
		if got := b.saw(); len(got) != 1 || *other != 2 {
			t.Errorf("handled %v of the busy lot and %d others", got, *other)
		}
		if s := r.Status().Lanes[0]; s.Ready != 3 || s.Running != 0 {
			t.Errorf("%d are ready, %d running", s.Ready, s.Running)
		}
		close(b.release)
		synctest.Wait()
		got := b.saw()
		if slices.Sort(got); !slices.Equal(got, []string{"0", "1", "2", "3"}) { // Lots may come to an end in any order.
			t.Errorf("handled %v", got)
		}
		must(t, stop())
		b.running.Wait()
		if n := len(f.settled()); n != 6 {
			t.Errorf("%d are settled", n)
		}
	})
}

func TestDeliveriesOfABusyLotAreGivenBackAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, f, r, _ := newBusy(t)
		stop := start(t, r)
		f.give("a", 0, 1)
		synctest.Wait()
		f.give("a", 1, 4)
		synctest.Wait()
		must(t, stop())
		close(b.release) // too late
		b.running.Wait()
		given := 0
		for _, o := range f.settled() {
			if o.Settlement == transport.Release {
				given++
			}
		}
		if got := b.saw(); given != 3 || len(got) != 1 {
			t.Errorf("%d are given back, %v are handled", given, got)
		}
	})
}

// What a stuck handler was doing for its lot, each of the others has to see for itself.
func TestDeliveriesOfALotWhoseHandlerIsStuckAreHandled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, release := newFake(), make(chan struct{})
		r := newRouter(t, f, func(c *Config) {
			c.Concurrency, c.Prefetch, c.HandlerTimeout = 1, 10, time.Second
		})
		once := func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				if d, _ := transport.DeliveryFromContext(msg.Context()); msg.Metadata["n"] == "0" {
					lot, _ := d.Lot()
					lot.While(func() { <-release })
				}
				return next(msg)
			}
		}
		handled := 0
		handle(t, r, "a", func(*message.Message) error { handled++; return nil }, once)
		f.give("a", 0, 4) // one lot
		stop := start(t, r)
		<-time.After(DefaultStuckGrace + time.Minute)
		synctest.Wait()
		if handled != 3 {
			t.Errorf("%d are handled", handled)
		}
		close(release)
		synctest.Wait() // It returns: stopping would not wait for it.
		must(t, stop())
	})
}
