package redis

import (
	"context"
	"fmt"
	"time"
)

// keepTenures looks after the topics until the receiver ends: which it has, which
// it is to hand over, which retries are due.
func (r *receiver) keepTenures() {
	for r.ctx.Err() == nil {
		wait := r.tend()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.delayed:
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
}

// view is what a look has shown of a topic.
type view struct {
	lowest, sum, members int
	due                  time.Duration // until the next retry; below zero: there is none
	stale                bool
}

// tend looks once, and returns when to look again.
func (r *receiver) tend() time.Duration {
	wait := max(r.cfg.Lease/lookEvery, time.Millisecond)
	for _, tenures := range r.looks {
		views, err := r.lookAt(tenures)
		if err != nil && r.ctx.Err() == nil {
			r.cfg.Logger.Warn("redis: topics are not renewed", "group", r.cfg.Group, "error", explain(err, tenures[0].streams[0].membersKey()))
		}
		for i, v := range views {
			t := tenures[i]
			if v.stale && r.phaseOf(t) == owned { // Before that, it is being taken over anyway.
				r.reclaimEach(t.streams...)
			}
			if v.due == 0 {
				v.due = r.promoteStream(t.streams[1])
			}
			if v.due > 0 {
				wait = min(wait, max(v.due, promoteBusy))
			}
		}
		if r.balance(tenures, views) {
			wait = min(wait, max(r.cfg.Lease/lookSoon, 5*time.Millisecond))
		}
	}
	return max(min(wait, r.untilExpiry()), time.Millisecond)
}

const (
	lookEvery = 10 // looks in a lease
	lookSoon  = 50 // while topics change hands
)

// lookAt runs the script for topics of one slot, or of one server, and applies what it says.
func (r *receiver) lookAt(tenures []*tenure) ([]view, error) {
	keys := make([]string, 0, 4*len(tenures))
	args := []any{r.cfg.Group, r.consumer, r.cfg.Lease.Milliseconds(), 0}
	r.mu.Lock()
	here := 0
	for _, t := range tenures {
		s, what := t.streams[1], ""
		switch t.phase {
		case leaving:
			what = "leaving"
		case left:
			what = "give up"
		case inheriting, owned:
			here++
		}
		keys = append(keys, t.topic, s.key, s.delayKey(), s.membersKey())
		args = append(args, what)
	}
	args[3] = r.keeps() - here
	r.mu.Unlock()
	now := time.Now()
	// The end of a tenure must be seen even if the server does not answer.
	ctx, cancel := context.WithTimeout(r.ctx, max(r.untilExpiry(), r.cfg.Lease/lookEvery))
	defer cancel()
	var reply []any
	err := r.await(ctx, func() error {
		answer, err := tenureScript.Run(ctx, r.cfg.Client, keys, args...).Slice()
		if err == nil && len(answer) != len(tenures) {
			err = fmt.Errorf("%w: %d topics of %d", errReply, len(answer), len(tenures))
		}
		if err == nil {
			reply = answer
		}
		return err
	})
	if err != nil {
		r.expire(tenures)
		return nil, err
	}
	views := make([]view, len(tenures))
	for i, t := range tenures {
		v := row(reply).row(i)
		r.apply(t, v.number(0), now)
		views[i] = view{int(v.number(1)), int(v.number(2)), int(v.number(3)), milliseconds(v.number(4)), v.number(5) == 1}
	}
	return views, nil
}

// untilExpiry is how long the first of the tenures lasts that ends.
func (r *receiver) untilExpiry() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.cfg.Lease
	for _, t := range r.tenures {
		if t.phase != vacant {
			next = min(next, time.Until(t.until))
		}
	}
	return next
}

// keeps is how many topics the receiver has and does not hand over. The caller holds the lock.
func (r *receiver) keeps() (n int) {
	for _, t := range r.tenures {
		if t.phase == inheriting || t.phase == owned {
			n++
		}
	}
	return n
}
