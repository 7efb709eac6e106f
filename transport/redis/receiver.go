package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// Receiver opens a receiver on topics. Streams and groups that do not exist are
// created (XGROUP CREATE MKSTREAM). It implements transport.Source.
func (s *Subscriber) Receiver(topics ...string) (transport.Receiver, error) {
	if len(topics) == 0 {
		return nil, errors.New("redis: receive: no topic is named")
	}
	r := &receiver{
		cfg:      s.cfg,
		consumer: s.consumerName(),
		held:     map[*transport.Delivery]*entry{},
		arrived:  make(chan struct{}, 1),
		taken:    make(chan struct{}, 1),
		delayed:  make(chan struct{}, 1),
	}
	for _, topic := range topics {
		if topic == "" {
			return nil, errors.New("redis: receive: a topic is empty")
		}
		key := s.cfg.KeyPrefix + topic
		base := transport.HashTag(key)
		r.streams = append(r.streams,
			&stream{topic: topic, key: key, start: s.cfg.Start, base: base, group: s.cfg.Group},
			&stream{topic: topic, key: base + ":retry:" + s.cfg.Group, start: "0", base: base, group: s.cfg.Group, retry: true},
		)
	}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	if err := r.createGroups(r.ctx); err != nil {
		r.cancel(err)
		return nil, fmt.Errorf("redis: open group %q: %w", s.cfg.Group, err)
	}
	r.running.Go(r.read)
	r.running.Go(r.reclaim)
	r.running.Go(r.renew)
	r.running.Go(r.promote)
	return r, nil
}

// stream is one key that a receiver reads: a topic's stream, or the stream of
// a group's retries for it.
type stream struct {
	topic string
	key   string
	start string
	base  string // of the names of the keys that belong to the topic
	group string
	retry bool
}

func (s *stream) retryKey() string   { return s.base + ":retry:" + s.group }
func (s *stream) delayKey() string   { return s.base + ":delay:" + s.group }
func (s *stream) delayedKey() string { return s.base + ":delayed:" + s.group }

// deleteFlag tells the scripts to delete what they ack: entries of a retry
// stream are this group's alone.
func (s *stream) deleteFlag() string {
	if s.retry {
		return "1"
	}
	return "0"
}

// entry is what a receiver knows of a delivery that it holds.
type entry struct {
	stream *stream
	id     string
	values map[string]any
	origin string
	cancel context.CancelCauseFunc
}

type receiver struct {
	cfg      SubscriberConfig
	consumer string
	streams  []*stream

	ctx     context.Context // ends with Close
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	closing sync.Once
	closed  error // of Close

	mu    sync.Mutex
	ready []*transport.Delivery
	held  map[*transport.Delivery]*entry // ready, or handed over and not settled

	arrived chan struct{} // ready is not empty
	taken   chan struct{} // ready has become shorter
	delayed chan struct{} // a retry was stored
}

// Capabilities implements transport.Receiver.
func (r *receiver) Capabilities() transport.Capabilities {
	return transport.Capabilities{DeadLetter: true, Attempts: true}
}

// Receive implements transport.Receiver.
func (r *receiver) Receive(ctx context.Context, most int) ([]*transport.Delivery, error) {
	most = max(most, 1)
	for {
		if r.ctx.Err() != nil {
			return nil, fmt.Errorf("redis: receive: receiver %w", events.ErrClosed)
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("redis: receive: %w", err)
		}
		r.mu.Lock()
		n := min(most, len(r.ready))
		page := append([]*transport.Delivery(nil), r.ready[:n]...)
		r.ready = r.ready[n:]
		more := len(r.ready) > 0
		r.mu.Unlock()
		if more {
			signal(r.arrived)
		}
		if n > 0 {
			signal(r.taken)
			return page, nil
		}
		select {
		case <-r.arrived:
		case <-ctx.Done():
		case <-r.ctx.Done():
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// createGroups makes what does not exist yet.
func (r *receiver) createGroups(ctx context.Context) error {
	for _, s := range r.streams {
		err := r.cfg.Client.XGroupCreateMkStream(ctx, s.key, s.group, s.start).Err()
		if err != nil && !hasPrefix(err, "BUSYGROUP") {
			return explain(err, s.key)
		}
	}
	return nil
}

// Close implements transport.Receiver. It takes as long as the read under way,
// that is, up to Block, and releases what is held.
func (r *receiver) Close() error {
	r.closing.Do(func() {
		r.cancel(fmt.Errorf("redis: receiver %w", events.ErrClosed))
		r.running.Wait()
		r.mu.Lock()
		outcomes := make([]transport.Outcome, 0, len(r.held))
		for d := range r.held {
			outcomes = append(outcomes, d.Release())
		}
		r.ready = nil
		r.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if len(outcomes) > 0 {
			r.closed = r.Settle(ctx, outcomes...)
		}
		for _, s := range r.streams {
			// Only tidying: a name that stays behind does no harm.
			if err := leaveScript.Run(ctx, r.cfg.Client, []string{s.key}, r.cfg.Group, r.consumer).Err(); err != nil {
				r.cfg.Logger.Debug("redis: consumer stays listed", "consumer", r.consumer, "error", err)
			}
		}
	})
	return r.closed
}

// closeTimeout bounds what Close spends on a server that does not answer.
const closeTimeout = 5 * time.Second
