package redis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

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
	old := time.Now().Add(-r.cfg.Lease / 4)
	byStream := map[*stream][]*entry{}
	for _, e := range leases(r.snapshot(func(e *entry) bool { return e.confirmed.Before(old) })) {
		byStream[e.stream] = append(byStream[e.stream], e)
	}
	for s, held := range byStream {
		for len(held) > 0 {
			n := min(len(held), page)
			r.extend(s, held[:n])
			held = held[n:]
		}
	}
}

// extend renews the leases of some entries of one stream (XCLAIM JUSTID of
// those that are still ours), and lets go of those that are not.
func (r *receiver) extend(s *stream, held []*entry) {
	args := make([]any, 0, 2+len(held))
	args = append(args, r.cfg.Group, r.consumer)
	for _, e := range held {
		args = append(args, e.id)
	}
	now := time.Now()
	lost, err := extendScript.Run(r.ctx, r.cfg.Client, []string{s.key}, args...).StringSlice()
	if err != nil {
		if r.ctx.Err() == nil {
			r.cfg.Logger.Warn("redis: leases not renewed", "stream", s.key, "count", len(held), "error", explain(err, s.key))
		}
		return
	}
	owners := make(map[string]string, len(lost)/2)
	for i := 0; i+1 < len(lost); i += 2 {
		owners[lost[i]] = lost[i+1]
	}
	r.noticeGone(s, held, owners)
	for _, e := range held {
		switch owner, gone := owners[e.id]; {
		case !gone:
			r.confirm(e, now)
		case owner != "" && s.tenure != nil:
			r.dismiss(s.tenure) // All of it: none may begin because the one before it is lost.
		case owner != "" || !r.orphan(e):
			r.lose(e)
		}
	}
}

// noticeGone finds out that a group was gone when another consumer has made it
// again, so that no command of this one has failed: an entry that is held here is
// pending nowhere, and nobody else could have claimed it within its lease.
func (r *receiver) noticeGone(s *stream, held []*entry, owners map[string]string) {
	since := time.Now().Add(-r.cfg.Lease)
	for _, e := range held {
		owner, lost := owners[e.id]
		if !lost || owner != "" || r.orphan(e) {
			continue
		}
		r.mu.Lock()
		gone := (e.state == ready || e.state == given) && e.confirmed.After(since)
		r.mu.Unlock()
		if gone {
			r.markGone([]*stream{s})
			r.cfg.Logger.Warn("redis: group was gone and is created again by another consumer", "group", r.cfg.Group, "topic", s.topic)
			return
		}
	}
}

func (r *receiver) confirm(e *entry, at time.Time) {
	for _, s := range r.sharers(e) {
		r.mu.Lock()
		if s.state == ready || s.state == given {
			r.held.renewed(s, at)
		}
		r.mu.Unlock()
	}
}

// reclaim takes over deliveries whose lease has run out.
func (r *receiver) reclaim() {
	for r.ctx.Err() == nil {
		for _, topics := range r.slots {
			r.reclaimTopics(topics)
		}
		// Never more than the interval: what crashed consumers held is found within it.
		r.sleep(r.cfg.ReclaimInterval/2 + rand.N(r.cfg.ReclaimInterval/2))
	}
}

// reclaimTopics takes over what there is of topics. One that fails does not keep the
// others from it.
func (r *receiver) reclaimTopics(topics []*stream) {
	states, err := r.survey(topics)
	if err != nil {
		r.reclaimFailed(err)
	}
	for _, s := range states {
		if s.pending {
			r.reclaimEach(s.topic, s.retries)
		}
	}
}

func (r *receiver) reclaimEach(streams ...*stream) {
	for _, s := range streams {
		if err := r.reclaimStream(s); err != nil {
			r.reclaimFailed(err, s.key)
		}
	}
}

func (r *receiver) reclaimFailed(err error, keys ...string) {
	if r.ctx.Err() == nil && !hasCode(err, "NOGROUP") {
		r.cfg.Logger.Warn("redis: reclaim failed", "group", r.cfg.Group, "streams", keys, "error", explain(err, keys...))
	}
}

// reclaimStream takes over pages of what nobody has kept alive. XAUTOCLAIM looks at
// ten times as many entries as it may return and no more, however many are
// pending; with JUSTID it leaves the counts as they are.
func (r *receiver) reclaimStream(s *stream) error {
	for start := "0-0"; r.ctx.Err() == nil; {
		// There is room beyond that of reading, which is taken all the time where
		// there is much to do: what is reclaimed has waited for a lease already.
		room := min(r.room(1, 2), page)
		if room == 0 {
			return nil
		}
		now := time.Now()
		reply, err := r.cfg.Client.Do(r.ctx, "xautoclaim", s.key, s.group, r.consumer, r.cfg.Lease.Milliseconds(), start, "count", room, "justid").Slice()
		if err != nil {
			return err
		}
		next, ids, deleted, err := readAutoClaim(reply)
		if err != nil {
			return err
		}
		for _, id := range deleted {
			r.reportDeleted(s, id)
		}
		if err := r.claim(s, ids, now); err != nil {
			return err
		}
		if next == "0-0" {
			return nil
		}
		start = next
	}
	return nil
}

// readAutoClaim reads a reply of XAUTOCLAIM JUSTID: where to go on, ids, and from
// Redis 7 on the ids of entries that are pending and deleted.
func readAutoClaim(reply []any) (next string, ids, deleted []string, err error) {
	lists := make([][]string, 2)
	for i, part := range reply[min(1, len(reply)):min(3, len(reply))] {
		values, _ := part.([]any)
		for _, v := range values {
			id, ok := v.(string)
			if !ok {
				continue // Redis 6.2 has a null for an entry that is deleted.
			}
			lists[i] = append(lists[i], id)
		}
	}
	next, ok := "", false
	if len(reply) > 0 {
		next, ok = reply[0].(string)
	}
	if !ok {
		return "", nil, nil, fmt.Errorf("xautoclaim: %w", errReply)
	}
	return next, lists[0], lists[1], nil
}

// claim makes deliveries of entries whose lease was renewed for us at that time.
func (r *receiver) claim(s *stream, ids []string, at time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	counts, err := r.deliveries(s, ids)
	if err != nil {
		return err // Claimed and not accepted: reclaimed when this lease has run out.
	}
	held := r.heldOf(s)
	args := []any{"xclaim", s.key, s.group, r.consumer, 0}
	for _, id := range ids {
		if e := held[id]; e != nil {
			// Held here: this consumer was late in renewing its lease. If the count
			// has changed somebody else has had it in between, and it is not ours
			// any more.
			if counts[id] == e.reads {
				r.confirm(e, at)
				delete(counts, id)
				continue
			}
			r.lose(e)
		}
		counts[id]++ // by the command that follows
		args = append(args, id)
	}
	if len(counts) == 0 {
		return nil
	}
	cmd := goredis.NewRawCmd(r.ctx, args...)
	if err := r.cfg.Client.Process(r.ctx, cmd); err != nil && !errors.Is(err, goredis.Nil) {
		return err
	}
	raw := reply{textOf(cmd.Val())}
	entries, err := raw.entries(nil)
	if err != nil {
		return fmt.Errorf("xclaim: %w", err)
	}
	if err := r.readProgress(s, entries); err != nil {
		return err // As above.
	}
	r.accept(s, entries, counts, at, r.tenureOf(s))
	return r.forgetDeleted(s, entries, counts)
}

// deliveries asks how often entries have been delivered (XPENDING).
func (r *receiver) deliveries(s *stream, ids []string) (map[string]int64, error) {
	pipe := r.cfg.Client.Pipeline()
	cmds := make([]*goredis.XPendingExtCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.XPendingExt(r.ctx, &goredis.XPendingExtArgs{Stream: s.key, Group: s.group, Start: id, End: id, Count: 1})
	}
	if _, err := pipe.Exec(r.ctx); err != nil {
		return nil, err
	}
	counts := make(map[string]int64, len(ids))
	for i, cmd := range cmds {
		counts[ids[i]] = 0
		for _, p := range cmd.Val() {
			counts[ids[i]] = p.RetryCount
		}
	}
	return counts, nil
}

// heldOf returns what is held of a stream, by id.
func (r *receiver) heldOf(s *stream) map[string]*entry {
	held := map[string]*entry{}
	for _, e := range r.snapshot(func(e *entry) bool { return e.stream == s }) {
		held[e.id] = e
	}
	return held
}

// forgetDeleted acks entries that are pending but were deleted or trimmed from
// the stream: there is nothing to deliver any more. Redis 7 does so itself;
// Redis 6.2 would offer them for ever.
func (r *receiver) forgetDeleted(s *stream, claimed []rawEntry, asked map[string]int64) error {
	for _, e := range claimed {
		delete(asked, e.id)
	}
	for id := range asked {
		acked, err := r.cfg.Client.XAck(r.ctx, s.key, s.group, id).Result()
		if err != nil {
			return err
		}
		if acked > 0 { // or else it was acked in the meantime, and nothing is lost
			r.reportDeleted(s, id)
		}
	}
	return nil
}

func (r *receiver) reportDeleted(s *stream, id string) {
	r.cfg.Logger.Error("redis: a pending entry was deleted from its stream, its message is lost: does something trim the stream?", "stream", s.key, "id", id)
}
