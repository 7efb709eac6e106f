package redis

import "time"

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
		for _, topics := range r.slots {
			wait = min(wait, r.promoteDue(topics))
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

// promoteDue moves what is due of topics, and returns the time until there is more.
func (r *receiver) promoteDue(topics []*stream) time.Duration {
	states, err := r.survey(topics)
	if err != nil {
		if r.ctx.Err() == nil {
			r.cfg.Logger.Warn("redis: no look at delayed retries", "group", r.cfg.Group, "error", explain(err))
		}
		return time.Second
	}
	wait := promoteIdle
	for _, s := range states {
		switch {
		case s.due == 0:
			wait = min(wait, r.promoteStream(s.retries))
		case s.due > 0:
			wait = min(wait, s.due)
		}
	}
	return wait
}

// promoteStream moves what is due of a topic, and returns the time until there is more.
func (r *receiver) promoteStream(s *stream) time.Duration {
	for r.ctx.Err() == nil {
		// moved, milliseconds until the next is due or -1, and how many were no entries
		reply, err := promoteScript.Run(r.ctx, r.cfg.Client, []string{s.delayKey(), s.delayedKey(), s.retryKey()}, page).Int64Slice()
		if err != nil || len(reply) != 3 {
			if r.ctx.Err() == nil {
				r.cfg.Logger.Warn("redis: delayed retries not moved", "topic", s.topic, "error", explain(err, s.delayKey()))
			}
			return time.Second
		}
		if reply[2] > 0 {
			r.cfg.Logger.Error("redis: delayed retries that cannot be read are set aside", "topic", s.topic, "count", reply[2], "key", s.delayedKey())
		}
		switch {
		case reply[1] < 0:
			return promoteIdle
		case reply[1] > 0:
			return time.Duration(reply[1]) * time.Millisecond
		}
	}
	return promoteIdle
}
