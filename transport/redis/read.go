package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

// read fetches new entries as long as there is room for them.
func (r *receiver) read() {
	outage := 0
	for r.ctx.Err() == nil {
		r.mu.Lock()
		room := r.cfg.Prefetch - len(r.ready)
		r.mu.Unlock()
		if room <= 0 {
			select {
			case <-r.taken:
			case <-r.ctx.Done():
			}
			continue
		}
		args := &goredis.XReadGroupArgs{Group: r.cfg.Group, Consumer: r.consumer, Count: int64(room), Block: r.cfg.Block}
		for _, s := range r.streams {
			args.Streams = append(args.Streams, s.key)
		}
		for range r.streams {
			args.Streams = append(args.Streams, ">")
		}
		pages, err := r.cfg.Client.XReadGroup(r.ctx, args).Result()
		if err != nil && !errors.Is(err, goredis.Nil) {
			r.recover(err, outage)
			outage++
			continue
		}
		if outage > 0 {
			r.cfg.Logger.Info("redis: reading again", "group", r.cfg.Group)
			outage = 0
		}
		for _, page := range pages {
			for _, s := range r.streams {
				if s.key == page.Stream {
					r.accept(s, page.Messages, nil)
				}
			}
		}
	}
}

// recover waits after a failed read, longer each time, and puts right what it can.
func (r *receiver) recover(err error, outage int) {
	if r.ctx.Err() != nil {
		return
	}
	if outage == 0 {
		r.cfg.Logger.Warn("redis: reading failed, trying again until it works", "group", r.cfg.Group, "error", explain(err, r.streams[0].key))
	}
	if hasPrefix(err, "NOGROUP") || hasPrefix(err, "UNBLOCKED") {
		// Flushed, deleted or failed over: begin where the configuration says.
		if err := r.createGroups(r.ctx); err == nil && outage == 0 {
			r.cfg.Logger.Warn("redis: group was gone and is created again", "group", r.cfg.Group, "start", r.cfg.Start)
			return
		}
	}
	wait := min(50*time.Millisecond<<min(outage, 6), 2*time.Second)
	r.sleep(wait/2 + rand.N(wait))
}

func (r *receiver) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// accept decodes entries and makes them ready. deliveries counts how often each
// was delivered; nil means once.
func (r *receiver) accept(s *stream, messages []goredis.XMessage, deliveries map[string]int64) {
	for _, m := range messages {
		msg, err := Decode(m.Values)
		e := &entry{stream: s, id: m.ID, values: m.Values, origin: m.ID}
		d := &transport.Delivery{Message: msg, Topic: s.topic, ID: m.ID, Attempt: 1, Stored: storedAt(m.ID)}
		if s.retry {
			e.restore(d)
		}
		if n := deliveries[m.ID]; n > 1 {
			d.Attempt += int(n - 1)
		}
		if err != nil {
			r.bury(e, d, err)
			continue
		}
		ctx, cancel := context.WithCancelCause(r.ctx)
		e.cancel = cancel
		msg.SetContext(ctx)
		r.mu.Lock()
		r.held[d] = e
		r.ready = append(r.ready, d)
		r.mu.Unlock()
		signal(r.arrived)
	}
}

// restore sets what a delivery brought along through the delay store.
func (e *entry) restore(d *transport.Delivery) {
	text := func(field string) string { s, _ := e.values[field].(string); return s }
	if n, err := strconv.Atoi(text(fieldAttempt)); err == nil {
		d.Attempt = n
	}
	if origin := text(fieldOrigin); origin != "" {
		d.ID, e.origin = origin, origin
	}
	if ms, err := strconv.ParseInt(text(fieldStored), 10, 64); err == nil {
		d.Stored = time.UnixMilli(ms)
	}
}

// storedAt reads the time that the server puts into an entry's id.
func storedAt(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n)
}
