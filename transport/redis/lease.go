package redis

import (
	"math/rand/v2"
	"time"

	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

// page is how many entries one command of upkeep deals with.
const page = 100

// renew keeps the leases of what is held, in batches, every third of a lease.
func (r *receiver) renew() {
	ticker := time.NewTicker(max(r.cfg.Lease/3, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.renewAll()
		case <-r.ctx.Done():
			return
		}
	}
}

func (r *receiver) renewAll() {
	byStream := map[*stream]map[string]*transport.Delivery{}
	r.mu.Lock()
	for d, e := range r.held {
		if byStream[e.stream] == nil {
			byStream[e.stream] = map[string]*transport.Delivery{}
		}
		byStream[e.stream][e.id] = d
	}
	r.mu.Unlock()
	for s, held := range byStream {
		batch := []any{r.cfg.Group, r.consumer}
		flush := func() {
			lost, err := extendScript.Run(r.ctx, r.cfg.Client, []string{s.key}, batch...).StringSlice()
			if err != nil && r.ctx.Err() == nil {
				r.cfg.Logger.Warn("redis: leases not renewed", "stream", s.key, "count", len(batch)-2, "error", explain(err, s.key))
			}
			for _, id := range lost {
				r.lose(held[id])
			}
			batch = batch[:2]
		}
		for id := range held {
			if batch = append(batch, id); len(batch) == 2+page {
				flush()
			}
		}
		if len(batch) > 2 {
			flush()
		}
	}
}

// lose ends the context of a delivery that is somebody else's by now.
func (r *receiver) lose(d *transport.Delivery) {
	if e := r.forget(d); e != nil {
		e.cancel(transport.ErrLeaseLost)
		r.cfg.Logger.Warn("redis: lease lost", "topic", d.Topic, "id", d.ID, "event", d.Message.UUID)
	}
}

// forget ends this receiver's hold on a delivery and returns what it knew of
// it, or nil if it held it no more.
func (r *receiver) forget(d *transport.Delivery) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.held[d]
	delete(r.held, d)
	return e
}

// reclaim takes over deliveries whose lease has run out.
func (r *receiver) reclaim() {
	for r.ctx.Err() == nil {
		for _, s := range r.streams {
			if err := r.reclaimStream(s); err != nil && r.ctx.Err() == nil && !hasPrefix(err, "NOGROUP") {
				r.cfg.Logger.Warn("redis: reclaim failed", "stream", s.key, "error", explain(err, s.key))
			}
		}
		r.sleep(r.cfg.ReclaimInterval*3/4 + rand.N(r.cfg.ReclaimInterval/2+1))
	}
}

func (r *receiver) reclaimStream(s *stream) error {
	for start := "0-0"; r.ctx.Err() == nil; {
		r.mu.Lock()
		room := r.cfg.Prefetch - len(r.ready)
		r.mu.Unlock()
		if room <= 0 {
			return nil
		}
		messages, next, err := r.cfg.Client.XAutoClaim(r.ctx, &goredis.XAutoClaimArgs{
			Stream: s.key, Group: s.group, Consumer: r.consumer, MinIdle: r.cfg.Lease, Start: start, Count: int64(min(room, page)),
		}).Result()
		if err != nil {
			return err
		}
		if len(messages) > 0 {
			deliveries, err := r.deliveries(s, messages)
			if err != nil {
				return err // Claimed and not accepted: reclaimed when this lease has run out.
			}
			r.accept(s, messages, deliveries)
		}
		if next == "0-0" {
			return nil
		}
		start = next
	}
	return nil
}

// deliveries asks how often claimed entries have been delivered (XPENDING).
func (r *receiver) deliveries(s *stream, messages []goredis.XMessage) (map[string]int64, error) {
	pipe := r.cfg.Client.Pipeline()
	cmds := make([]*goredis.XPendingExtCmd, len(messages))
	for i, m := range messages {
		cmds[i] = pipe.XPendingExt(r.ctx, &goredis.XPendingExtArgs{Stream: s.key, Group: s.group, Start: m.ID, End: m.ID, Count: 1})
	}
	if _, err := pipe.Exec(r.ctx); err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for _, cmd := range cmds {
		for _, p := range cmd.Val() {
			counts[p.ID] = p.RetryCount
		}
	}
	return counts, nil
}

// Waits between looks at the delay stores: at most idle, so that retries of a
// crashed consumer are found; at least busy, so that many retries share a look.
const (
	promoteIdle = 5 * time.Second
	promoteBusy = 20 * time.Millisecond
)

// promote moves retries that are due to where they are read.
func (r *receiver) promote() {
	for r.ctx.Err() == nil {
		wait := promoteIdle
		for _, s := range r.streams {
			if s.retry {
				wait = min(wait, r.promoteStream(s))
			}
		}
		timer := time.NewTimer(max(wait, promoteBusy))
		select {
		case <-timer.C:
		case <-r.delayed:
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
}

// promoteStream returns the time until the next retry is due.
func (r *receiver) promoteStream(s *stream) time.Duration {
	for r.ctx.Err() == nil {
		reply, err := promoteScript.Run(r.ctx, r.cfg.Client, []string{s.delayKey(), s.delayedKey(), s.retryKey()}, page).Int64Slice()
		if err != nil || len(reply) != 2 {
			if r.ctx.Err() == nil {
				r.cfg.Logger.Warn("redis: delayed retries not moved", "topic", s.topic, "error", explain(err, s.delayKey()))
			}
			return time.Second
		}
		if reply[1] < 0 {
			return promoteIdle
		}
		if reply[1] > 0 {
			return time.Duration(reply[1]) * time.Millisecond
		}
	}
	return promoteIdle
}
