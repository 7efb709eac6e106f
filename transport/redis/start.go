package redis

import (
	"context"
	"math"
	"strconv"
	"time"
)

// StartAt returns the [SubscriberConfig.Start] of a group that begins with the
// first entry stored at t or later, by the server's clock. Parts of a millisecond
// are dropped. A time before 1970 means all there is.
func StartAt(t time.Time) string {
	ms := t.UnixMilli()
	if ms <= 0 {
		return "0"
	}
	// A group begins after its start: this is the last id of the millisecond before.
	return strconv.FormatInt(ms-1, 10) + "-" + strconv.FormatUint(math.MaxUint64, 10)
}

// createGroup makes a stream and its group (XGROUP CREATE MKSTREAM). A group that
// begins at the end of a stream that has entries says so: they may have been meant
// for it.
func (r *receiver) createGroup(ctx context.Context, s *stream) error {
	var backlog int64
	if s.start == "$" {
		var err error
		if backlog, err = r.cfg.Client.XLen(ctx, s.key).Result(); err != nil {
			return err
		}
	}
	err := r.cfg.Client.XGroupCreateMkStream(ctx, s.key, s.group, s.start).Err()
	if err == nil && !s.retry {
		err = r.forget(ctx, s)
	}
	if err == nil && backlog > 0 {
		r.cfg.Logger.Warn(`redis: a new group begins at the end of a topic ("$") and will not see the entries that are there`,
			"topic", s.topic, "group", s.group, "entries", backlog)
	}
	return err
}
