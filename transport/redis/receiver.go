package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis/internal/pack"
	goredis "github.com/redis/go-redis/v9"
)

// Receiver opens a receiver on topics. Streams and groups that do not exist are
// created (XGROUP CREATE MKSTREAM). It implements transport.Source.
func (s *Subscriber) Receiver(topics ...string) (transport.Receiver, error) {
	if s.closed.Load() {
		return nil, fmt.Errorf("redis: open a receiver: subscriber %w", events.ErrClosed)
	}
	if err := transport.CheckTopics(topics...); err != nil {
		return nil, fmt.Errorf("redis: open a receiver: %w", err)
	}
	r := &receiver{
		cfg:    s.cfg,
		client: blockingClient(s.cfg.Client, s.cfg.Block),
		// Large until it is known better: the first pages are small.
		entryBytes: 256 << 10,
		entryCount: 16,
		consumer:   s.consumerName(),
		incidents:  &s.incidents,
		arrived:    make(chan struct{}, 1),
		taken:      make(chan struct{}, 1),
		delayed:    make(chan struct{}, 1),

		tenuresChanged: make(chan struct{}),
	}
	perTopic := sharded(s.cfg.Client)
	for _, topic := range topics {
		streams, err := s.cfg.streamsOf(topic)
		if err != nil {
			return nil, fmt.Errorf("redis: open a receiver: SubscriberConfig.DeadLetterTopic: %w", err)
		}
		r.streams = append(r.streams, streams...)
		if perTopic || len(r.slots) == 0 {
			r.slots = append(r.slots, nil)
			r.looks = append(r.looks, nil)
		}
		last := len(r.slots) - 1
		r.slots[last] = append(r.slots[last], streams...)
		if s.cfg.Exclusive {
			t := &tenure{topic: topic, streams: streams}
			streams[0].tenure, streams[1].tenure = t, t
			r.tenures = append(r.tenures, t)
			r.looks[last] = append(r.looks[last], t)
		}
	}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	if _, err := r.createGroups(r.ctx, r.streams); err != nil {
		r.cancel(err)
		return nil, fmt.Errorf("redis: open group %q: %w", s.cfg.Group, err)
	}
	for _, streams := range r.slots {
		shared := &reader{receiver: r, streams: streams}
		r.running.Go(shared.run)
		r.running.Go(shared.run)
	}
	r.running.Go(r.renew)
	if s.cfg.Exclusive {
		r.running.Go(r.keepTenures)
		return r, nil
	}
	r.running.Go(r.reclaim)
	r.running.Go(r.promote)
	return r, nil
}

// sharded reports whether one command may name keys of one slot, or shard, only.
func sharded(client goredis.UniversalClient) bool {
	_, ok := client.(interface { // *goredis.ClusterClient and *goredis.Ring
		ForEachShard(ctx context.Context, fn func(ctx context.Context, client *goredis.Client) error) error
	})
	return ok
}

// blockingClient returns a client whose reads last longer than block.
func blockingClient(client goredis.UniversalClient, block time.Duration) goredis.UniversalClient {
	c, ok := client.(*goredis.Client)
	if timeout := 2*block + time.Second; ok && c.Options().ReadTimeout > 0 && c.Options().ReadTimeout < timeout {
		return c.WithTimeout(timeout) // shares c's connections
	}
	return client
}

type receiver struct {
	cfg      SubscriberConfig
	client   goredis.UniversalClient // for commands that block
	consumer string
	streams  []*stream
	slots    [][]*stream // the same, in groups that one command may name: pairs of a topic and its retries

	incidents *incidents // of the subscriber

	ctx     context.Context // ends with Close, or when the receiver fails for good
	cancel  context.CancelCauseFunc
	running sync.WaitGroup // the goroutines of Receiver
	calls   sync.WaitGroup // commands under way whose caller may have gone; see await
	closing sync.Once
	closed  error // of Close

	mu          sync.Mutex
	queue       []*entry // read and not handed over; some may be lost by now
	wholes      int      // how many of it are entries of many messages
	bundled     int      // how many messages more than entries these have
	queueBytes  int      // of their payloads
	coming      int      // entries that are read and not in the queue yet
	comingBytes int      // of their payloads
	entryBytes  int      // how large entries are, at a guess
	held        list     // ready or given
	ended       bool     // nothing is added to calls any more
	entryCount  int      // how many messages entries have, at a guess

	unpacking sync.Mutex     // taken before mu
	unpacked  []pack.Message // memory for them; guarded by unpacking

	// Of an exclusive receiver.
	tenures        []*tenure
	looks          [][]*tenure   // those that one script may name
	tenuresChanged chan struct{} // closed, and replaced under the lock, when a topic is taken

	arrived chan struct{} // queue is not empty
	taken   chan struct{} // there may be more room
	delayed chan struct{} // a retry was stored
}

// Capabilities implements transport.Receiver.
func (r *receiver) Capabilities() transport.Capabilities {
	return transport.Capabilities{DeadLetter: true, Attempts: true}
}

// Receive implements transport.Receiver.
func (r *receiver) Receive(ctx context.Context, most int) ([]*transport.Delivery, error) {
	for {
		if r.ctx.Err() != nil {
			return nil, fmt.Errorf("redis: receive: %w", context.Cause(r.ctx))
		}
		if err := ctx.Err(); err != nil {
			// The signal that woke this call may have been another one's.
			r.signalArrived()
			return nil, fmt.Errorf("redis: receive: %w", err)
		}
		r.unpackNext(max(most, 1))
		if page := r.dequeue(max(most, 1)); len(page) > 0 {
			return page, nil
		}
		select {
		case <-r.arrived:
		case <-ctx.Done():
		case <-r.ctx.Done():
		}
	}
}

// dequeue hands over up to most entries.
func (r *receiver) dequeue(most int) (page []*transport.Delivery) {
	r.mu.Lock()
	page = make([]*transport.Delivery, 0, min(most, len(r.queue)))
	n := 0
	for ; n < len(r.queue) && len(page) < most; n++ {
		e := r.queue[n]
		if e.state == ready && (e.isWhole() || len(page) > 0 && !r.fits(n, most-len(page))) {
			break // The next call unpacks it, if it has come just now.
		}
		r.waits(e, -1)
		if e.state == ready && e.stream.handsOut() { // or else lost while it waited
			e.state = given
			page = append(page, &e.Delivery)
		}
	}
	clear(r.queue[:n])
	r.queue = r.queue[n:]
	more := len(r.queue) > 0
	r.mu.Unlock()
	if more {
		signal(r.arrived)
	}
	if n > 0 {
		signal(r.taken)
	}
	return page
}

func (r *receiver) signalArrived() {
	r.mu.Lock()
	more := len(r.queue) > 0
	r.mu.Unlock()
	if more {
		signal(r.arrived)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fail ends the receiver for good: nothing it could do would help.
func (r *receiver) fail(err error) {
	if r.ctx.Err() == nil {
		r.cfg.Logger.Error("redis: receiving ends", "group", r.cfg.Group, "error", err)
		r.cancel(err)
	}
}

// Close implements transport.Receiver. It takes as long as the read under way,
// that is, up to Block, and releases what is held.
func (r *receiver) Close() error {
	r.closing.Do(func() {
		r.cancel(fmt.Errorf("receiver %w", events.ErrClosed))
		r.running.Wait()
		defer r.waitForCalls()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		r.unpackNext(math.MaxInt)
		held := r.snapshot(func(*entry) bool { return true })
		inOrder(held)
		r.closed = r.releaseAll(ctx, held)
		if errors.Is(r.closed, goredis.ErrClosed) {
			return
		}
		r.resign(ctx)
		for _, s := range r.streams {
			// Only tidying: a name that stays behind does no harm.
			if err := leaveScript.Run(ctx, r.cfg.Client, []string{s.key}, r.cfg.Group, r.consumer).Err(); err != nil {
				r.cfg.Logger.Debug("redis: consumer stays listed", "consumer", r.consumer, "error", err)
			}
		}
	})
	return r.closed
}

// releaseAll releases entries: to the next owner of their topic, or to anyone.
func (r *receiver) releaseAll(ctx context.Context, held []*entry) error {
	if r.cfg.Exclusive {
		return r.giveBack(ctx, held, settledContext)
	}
	if len(held) == 0 {
		return nil
	}
	outcomes := make([]transport.Outcome, len(held))
	for i, e := range held {
		outcomes[i] = e.Release()
	}
	return r.Settle(ctx, outcomes...)
}

// closeTimeout bounds what Close spends on releasing what is held.
const closeTimeout = 5 * time.Second
