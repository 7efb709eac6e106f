package redis

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// balance begins to hand over topics if another consumer has at least two fewer,
// and goes on with those that it has begun with. It reports whether to look again soon.
func (r *receiver) balance(tenures []*tenure, views []view) (soon bool) {
	r.mu.Lock()
	mine := r.keeps()
	most := -1 // to hand over; -1: not known yet
	for i, v := range views {
		t := tenures[i]
		if t.phase == owned && v.lowest <= mine-2 {
			if most < 0 {
				most = max(1, mine-(v.sum+v.members-1)/max(v.members, 1))
			}
			if most > 0 {
				most--
				mine--
				t.phase, t.leave = leaving, time.Now().Add(r.cfg.Lease)
			}
		}
		soon = soon || t.phase == vacant && mine < v.sum/max(v.members, 1) // It will be handed over.
	}
	var going []*tenure
	for _, t := range tenures {
		if t.phase == leaving {
			going = append(going, t)
		}
		soon = soon || t.phase == inheriting || t.phase == leaving || t.phase == left
	}
	r.mu.Unlock()
	for _, t := range going {
		r.handOver(t)
	}
	return soon
}

// handOver goes on with leaving a topic: what has not been handed to anybody is given
// back at once; what has is waited for, up to a lease, and then taken away.
func (r *receiver) handOver(t *tenure) {
	r.mu.Lock()
	patient := time.Now().Before(t.leave)
	r.mu.Unlock()
	// Messages of one entry are given back together.
	held := r.snapshot(func(e *entry) bool { return e.stream.tenure == t && (e.state == ready && !e.begun() || !patient) })
	ctx, cancel := context.WithTimeout(r.ctx, max(r.untilExpiry(), time.Millisecond))
	defer cancel()
	if err := r.giveBack(ctx, held, lostContext); err != nil {
		r.cfg.Logger.Warn("redis: a topic is not handed over yet", "topic", t.topic, "error", err)
		return
	}
	r.mu.Lock()
	over := t.phase == leaving && t.reading == 0 && t.open == 0
	if over {
		t.phase = left
	}
	r.mu.Unlock()
	if over {
		r.cfg.Logger.Info("redis: a topic is handed over", "topic", t.topic, "group", r.cfg.Group, "consumer", r.consumer)
	}
}

// giveBack leaves entries to the next owner of their topic, with the attempts that they
// have had, and ends their contexts.
func (r *receiver) giveBack(ctx context.Context, held []*entry, ended *madeContext) error {
	const page = 100
	var tasks []*task
	byStream := map[*stream]*task{}
	inOrder(held)
	var taken []*entry
	for _, e := range slices.Backward(held) { // None may begin because the one before it has ended.
		if _, ok := r.take(e, settling); ok {
			e.context.end(ended)
			taken = append(taken, e)
		}
	}
	for _, e := range slices.Backward(taken) {
		t := byStream[e.stream]
		if t == nil || len(t.outcomes) == page {
			t = &task{script: giveBackScript, keys: []string{e.stream.key}, args: []any{r.cfg.Group, r.consumer, givenBack, r.cfg.Lease.Milliseconds()}}
			byStream[e.stream] = t
			tasks = append(tasks, t)
		}
		t.args = append(t.args, e.id, max(e.Attempt-e.firstAttempt(), 0))
		t.outcomes = append(t.outcomes, e.Release())
	}
	return r.settleAll(ctx, tasks, &failures{receiver: r})
}

// resign leaves the topics to others, in Close.
func (r *receiver) resign(ctx context.Context) {
	for _, t := range r.tenures {
		if err := resignScript.Run(ctx, r.cfg.Client, []string{t.streams[0].membersKey()}, r.consumer).Err(); err != nil {
			r.cfg.Logger.Warn("redis: a topic is not given up: others wait for the end of its lease", "topic", t.topic, "error", explain(err, t.topic))
		}
	}
}

// inherit takes over a page of what is pending in a stream, the oldest first. When there
// is no more, the next stream of the topic follows, and then what is new.
func (r *reader) inherit(p *pageOfEntries, s *stream, count int) error {
	r.mu.Lock()
	from := s.tenure.cursor
	r.mu.Unlock()
	last, err := r.takeOver(p, s, "", from, count)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := s.tenure
	switch {
	case t.phase != inheriting || t.number != p.tenureOf(s):
	case last != "":
		t.cursor = last
	default:
		t.cursor = ""
		if t.behind = t.behind[1:]; len(t.behind) == 0 {
			t.phase = owned
		}
	}
	return nil
}

// takeOver claims a page of what is pending after an id, of one consumer or, if none is
// named, of all, and returns the last id of it. Who has lost the topic since claims
// nothing: what is pending is the new owner's.
func (r *reader) takeOver(p *pageOfEntries, s *stream, consumer, after string, count int) (last string, err error) {
	start := "-"
	if after != "" {
		start = "(" + after
	}
	p.read = time.Now()
	pending, err := r.cfg.Client.XPendingExt(r.ctx, &goredis.XPendingExtArgs{Stream: s.key, Group: s.group, Start: start, End: "+", Count: int64(max(count, 1)), Consumer: consumer}).Result()
	if err != nil || len(pending) == 0 {
		return "", err
	}
	last = pending[len(pending)-1].ID
	held := r.heldOf(s)
	args := []any{"xclaim", s.key, s.group, r.consumer, 0}
	counts := make(map[string]int64, len(pending))
	for _, e := range pending {
		if held[e.ID] == nil || e.Consumer != r.consumer {
			args = append(args, e.ID)
			counts[e.ID] = e.RetryCount + 1
		}
	}
	if len(counts) == 0 {
		return last, nil
	}
	if !r.owns(s, p.tenureOf(s)) {
		return "", nil
	}
	cmd := goredis.NewRawCmd(r.ctx, args...)
	if err := r.client.Process(r.ctx, cmd); err != nil && !errors.Is(err, goredis.Nil) {
		return "", err
	}
	raw := reply{textOf(cmd.Val())}
	entries, err := raw.entries(nil)
	if err != nil {
		return "", err
	}
	if err := r.readProgress(s, entries); err != nil {
		return "", err
	}
	p.add(s, entries)
	if len(entries) > 0 {
		p.parts[len(p.parts)-1].deliveries = counts
	}
	missing := make(map[string]int64, len(counts))
	for id, n := range counts {
		missing[id] = n
	}
	return last, r.forgetDeleted(s, entries, missing)
}

// intruded looks whether a consumer that has lost a topic has read from it since: its
// command may have been on its way. What it has got is put where it belongs.
func (r *reader) intruded(p *pageOfEntries) error {
	if len(p.parts) == 0 {
		return nil
	}
	pipe := r.cfg.Client.Pipeline()
	cmds := make([]*goredis.XPendingCmd, len(p.parts))
	for i, part := range p.parts {
		cmds[i] = pipe.XPending(r.ctx, part.stream.key, part.stream.group)
	}
	if _, err := pipe.Exec(r.ctx); err != nil {
		return err
	}
	for i, cmd := range cmds {
		for name, n := range cmd.Val().Consumers {
			if name == r.consumer || n == 0 {
				continue
			}
			part := p.parts[i]
			r.cfg.Logger.Warn("redis: another consumer has read from a topic that is not its own: taking over", "topic", part.stream.topic, "consumer", name, "entries", n)
			for after := ""; ; {
				last, err := r.takeOver(p, part.stream, name, after, page)
				if err != nil {
					return err
				}
				if last == "" {
					break
				}
				after = last
			}
		}
	}
	p.join()
	return nil
}

// join makes one part, in order, of those that are of the same stream.
func (p *pageOfEntries) join() {
	for i := 0; i < len(p.parts); i++ {
		first := &p.parts[i]
		for n := len(p.parts) - 1; n > i; n-- {
			other := p.parts[n]
			if other.stream != first.stream {
				continue
			}
			first.entries = append(slices.Clone(first.entries), other.entries...)
			if first.deliveries == nil {
				first.deliveries = map[string]int64{}
			}
			for id, count := range other.deliveries {
				first.deliveries[id] = count
			}
			p.parts = slices.Delete(p.parts, n, n+1)
		}
		slices.SortStableFunc(first.entries, func(a, b rawEntry) int { return compareIDs(a.id, b.id) })
	}
}

// inOrder sorts entries by topic and age.
func inOrder(entries []*entry) {
	slices.SortStableFunc(entries, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.Topic, b.Topic), compareIDs(a.ID, b.ID)) })
}
