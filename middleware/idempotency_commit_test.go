package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

// stage is a broker, a store that counts, and routers on them.
type stage struct {
	t      *testing.T
	broker *memory.Broker
	pub    *memory.Publisher
	store  *countingStore
}

// countingStore counts the calls that would be round trips.
type countingStore struct {
	*middleware.MemoryIdempotencyStore
	begins, claims atomic.Int64
	slow           func()
}

func (s *countingStore) Begin(ctx context.Context, claims ...transport.Claim) ([]transport.ClaimResult, error) {
	s.begins.Add(1)
	s.claims.Add(int64(len(claims)))
	if s.slow != nil {
		s.slow()
	}
	return s.MemoryIdempotencyStore.Begin(ctx, claims...)
}

func newStage(t *testing.T) *stage {
	t.Helper()
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	must(t, err)
	return &stage{t, broker, pub, &countingStore{MemoryIdempotencyStore: memoryStore(t, 0)}}
}

// router returns one whose handler publishes to "out" through pub.
func (s *stage) router(pub message.Publisher, fn message.HandlerFunc, outer ...message.HandlerMiddleware) *router.Router {
	s.t.Helper()
	sub, err := memory.NewSubscriber(s.broker, memory.SubscriberConfig{Group: "g", Logger: silent})
	must(s.t, err)
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"in"}, Logger: silent})
	must(s.t, err)
	r.Use(append(outer, idempotency(s.t, middleware.IdempotencyConfig{Store: s.store}))...)
	must(s.t, r.HandleAndPublish("**", fn, pub, "out"))
	return r
}

// run runs a router until nothing is unsettled any more.
func (s *stage) run(r *router.Router) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for s.broker.Unsettled("in", "g") > 0 {
		<-time.After(time.Second)
	}
	cancel()
	must(s.t, <-ended)
}

// receive returns deliveries, and the receiver that has them.
func (s *stage) receive(n int) (transport.Receiver, []*transport.Delivery) {
	s.t.Helper()
	sub, err := memory.NewSubscriber(s.broker, memory.SubscriberConfig{Group: "g", Lease: time.Hour})
	must(s.t, err)
	r, err := sub.Receiver("in")
	must(s.t, err)
	page, err := r.Receive(s.t.Context(), n)
	must(s.t, err)
	return r, page
}

func (s *stage) publish(from, to int) {
	s.t.Helper()
	for i := from; i < to; i++ {
		must(s.t, s.pub.Publish("in", newMessage(fmt.Sprint(i))))
	}
}

// out returns the ids that were published, sorted.
func (s *stage) out() (ids []string) {
	for _, msg := range s.broker.Messages("out") {
		ids = append(ids, msg.UUID)
	}
	slices.Sort(ids)
	return ids
}

func two(msg *message.Message) ([]*message.Message, error) {
	return []*message.Message{message.NewMessage(msg.UUID+" a", nil), message.NewMessage(msg.UUID+" b", nil)}, nil
}

func TestAnAckPublishesWhatTheHandlerReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.publish(0, 2)
		s.publish(0, 2) // duplicates
		s.run(s.router(s.pub, two))
		if got := s.out(); !slices.Equal(got, []string{"0 a", "0 b", "1 a", "1 b"}) {
			t.Errorf("published %v", got)
		}
		if of := s.broker.Messages("out")[0]; of.Metadata[events.MetadataCausationID] == "" {
			t.Errorf("it is not tied to what led to it: %v", of.Metadata)
		}
		if s.store.Len() != 2 {
			t.Errorf("%d marks", s.store.Len())
		}
	})
}

// A publisher with something around it is not known, so the messages are kept with
// the mark, and returned again for each duplicate.
func TestElsewhereADuplicatePublishesTheSameMessagesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.publish(0, 1)
		s.publish(0, 1)
		s.run(s.router(struct{ message.Publisher }{s.pub}, two))
		if got := s.out(); !slices.Equal(got, []string{"0 a", "0 a", "0 b", "0 b"}) {
			t.Errorf("published %v", got)
		}
	})
}

func TestClaimsAreMadeForAllThatWereReceivedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		const n = 1000
		s.publish(0, n)
		s.run(s.router(s.pub, func(*message.Message) ([]*message.Message, error) { return nil, nil }))
		if begins, claims := s.store.begins.Load(), s.store.claims.Load(); begins > n/4 || claims != n {
			t.Errorf("%d claims by %d calls", claims, begins)
		}
		if s.store.Len() != n {
			t.Errorf("%d marks", s.store.Len())
		}
	})
}

func TestAClaimMadeAheadIsDroppedIfTheHandlerIsNotReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		refuse := func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				if msg.UUID > "5" {
					return nil, events.Permanent(errBoom)
				}
				return next(msg)
			}
		}
		s.publish(0, 10)
		r := s.router(s.pub, two, refuse)
		s.run(r)
		s.publish(0, 10) // By now the router looks ahead.
		s.run(s.router(s.pub, two, refuse))
		if s.store.Len() != 6 || len(s.out()) != 12 {
			t.Errorf("%d keys, %d published", s.store.Len(), len(s.out()))
		}
	})
}

func TestAFailedHandlerRunsAgainUnderItsClaim(t *testing.T) {
	for name, fail := range map[string]error{"by the router's schedule": errBoom, "later": events.RetryAfter(time.Minute, errBoom)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				s.publish(0, 20)
				var mu sync.Mutex
				failed := map[string]bool{}
				retry, err := middleware.Retry(middleware.RetryConfig{MaxAttempts: 1})
				must(t, err)
				s.run(s.router(s.pub, func(msg *message.Message) ([]*message.Message, error) {
					mu.Lock()
					defer mu.Unlock()
					if !failed[msg.UUID] {
						failed[msg.UUID] = true
						return nil, fail
					}
					return two(msg)
				}, retry))
				if s.store.Len() != 20 || len(s.out()) != 40 {
					t.Errorf("%d keys, %d published", s.store.Len(), len(s.out()))
				}
			})
		})
	}
}

// The consumer crashes in the middle of its handlers. Its claims last for minutes, but
// whoever gets its deliveries need not wait for them.
func TestP1_ACrashedHandlerRunsAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.publish(0, 10)
		sub, err := memory.NewSubscriber(s.broker, memory.SubscriberConfig{Group: "g", Lease: 30 * time.Second})
		must(t, err)
		r, err := sub.Receiver("in")
		must(t, err)
		page, err := r.Receive(t.Context(), 10)
		must(t, err)
		transport.NewLot(&transport.Route{}, page)
		mw := idempotency(t, middleware.IdempotencyConfig{Store: s.store})
		for _, d := range page {
			d.Message.SetContext(transport.ContextWithDelivery(context.Background(), d, full))
			_, err := mw(two)(d.Message) // It was about to be settled.
			must(t, err)
		}
		memory.Crash(r)
		begun := time.Now()
		s.run(s.router(s.pub, two))
		if took := time.Since(begun); took > time.Minute {
			t.Errorf("took %v, the lease of the deliveries is 30 s, that of claims %v", took, middleware.DefaultLease)
		}
		if got := s.out(); len(got) != 20 {
			t.Errorf("published %v", got)
		}
	})
}

// A claim is concluded without a look at it only while it cannot be another's.
func TestAClaimIsSureForHalfItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.publish(0, 3)
		r, page := s.receive(3)
		route := &transport.Route{}
		transport.NewLot(route, page[:1])
		mw := idempotency(t, middleware.IdempotencyConfig{Store: s.store, Lease: 10 * time.Second})
		for i, tt := range []struct {
			takes time.Duration
			sure  bool
		}{{4 * time.Second, true}, {3 * time.Second, true}, {3 * time.Second, false}} { // The last two are claimed together.
			if i == 1 {
				transport.NewLot(route, page[1:])
			}
			d := page[i]
			d.Message.SetContext(transport.ContextWithDelivery(context.Background(), d, full))
			_, err := mw(func(*message.Message) ([]*message.Message, error) { <-time.After(tt.takes); return nil, nil })(d.Message)
			must(t, err)
			if h := d.HeldClaim(); !h.Done || h.Sure(time.Now()) != tt.sure {
				t.Errorf("handler %d: done %v, sure %v", i, h.Done, !tt.sure)
			}
		}
		if calls := s.store.begins.Load(); calls != 2 {
			t.Errorf("%d calls to claim", calls)
		}
		must(t, r.Close())
	})
}

// A store that is slow holds up the handlers that need it, not what is received, and
// a handler's deadline ends the waiting.
func TestASlowStoreIsWaitedForNoLongerThanTheHandlerMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		release := make(chan struct{})
		var once atomic.Bool
		s.store.slow = func() {
			if once.CompareAndSwap(false, true) {
				<-release
			}
		}
		s.publish(0, 30)
		deadline := func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				ctx, cancel := context.WithTimeout(msg.Context(), time.Second)
				defer cancel()
				msg.SetContext(ctx)
				out, err := next(msg)
				if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, middleware.ErrInProgress) {
					t.Errorf("got %v", err)
				}
				return out, err
			}
		}
		time.AfterFunc(time.Minute, func() { close(release) })
		s.run(s.router(s.pub, two, deadline))
		if len(s.out()) != 60 || s.store.Len() != 30 {
			t.Errorf("%d published, %d marks", len(s.out()), s.store.Len())
		}
	})
}

// Whose claim another handler is making waits for no longer than it may, and finds the
// claim at its next attempt.
func TestAHandlerWaitsForClaimsOfOthersWithinItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		release := make(chan struct{})
		s.store.slow = func() { <-release }
		s.publish(0, 3)
		r, page := s.receive(3)
		mw := idempotency(t, middleware.IdempotencyConfig{Store: s.store, Lease: time.Hour})
		handle := func(d *transport.Delivery, within time.Duration) error {
			ctx, cancel := context.WithTimeout(context.Background(), within)
			defer cancel()
			d.Message.SetContext(transport.ContextWithDelivery(ctx, d, full))
			_, err := mw(func(*message.Message) ([]*message.Message, error) { return nil, nil })(d.Message)
			return err
		}
		route := &transport.Route{}
		transport.NewLot(route, page[:1])
		close(release)
		must(t, handle(page[0], time.Minute)) // From now on the middleware looks ahead.

		release = make(chan struct{})
		transport.NewLot(route, page[1:])
		first := make(chan error)
		go func() { first <- handle(page[1], time.Minute) }()
		synctest.Wait()
		began := time.Now()
		if err := handle(page[2], time.Second); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		close(release)
		must(t, <-first)
		must(t, handle(page[2], time.Second))
		for i, d := range page {
			if h := d.HeldClaim(); h == nil || !h.Done {
				t.Errorf("delivery %d: its ack does not mark it: %+v", i, h)
			}
		}
		if calls := s.store.begins.Load(); calls != 2 {
			t.Errorf("%d calls to claim", calls)
		}
		must(t, r.Close())
	})
}

func TestAStoreThatIsDownLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.publish(0, 50)
		var calls atomic.Int64
		s.store.slow = func() {
			if calls.Add(1) <= 40 {
				panic("down")
			}
		}
		s.run(s.router(s.pub, two))
		if len(s.out()) != 100 || s.store.Len() != 50 {
			t.Errorf("%d published, %d marks", len(s.out()), s.store.Len())
		}
	})
}
