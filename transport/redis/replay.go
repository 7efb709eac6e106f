package redis

import (
	"context"
	"fmt"
	"strings"

	"github.com/logistically/events"
)

// MoveGroup makes a group that exists go on from another place of a topic (XGROUP
// SETID): with all there is ("0"), with what comes ("$"), after an entry id, or at a
// time ([StartAt]), as [SubscriberConfig.Start] does for a new one. Moved back, it
// replays what is still stored; moved forward, it skips what lies between.
//
// What the group has read and not settled stays pending and is not forgotten, and its
// retries stay as they are. Stop its consumers first: what they are at when the group
// is moved back over it is delivered a second time, to anyone, and the lease of the
// first is lost. Handlers behind the idempotency middleware do not see an event again
// that they have handled, unless the replay has a scope of its own.
//
// The error is a *events.ConfigError if start is no place, and wraps [ErrNoGroup] if
// there is no such group.
func (i *Inspector) MoveGroup(ctx context.Context, topic, group, start string) error {
	if start == "" || !startPattern.MatchString(start) {
		return &events.ConfigError{Field: "redis.Inspector.MoveGroup start", Value: start, Problem: "is no start", Remedy: `use "0", "$", redis.StartAt, or an entry id such as "1700000000000-0"`}
	}
	err := i.cfg.Client.XGroupSetID(ctx, topic, group, start).Err()
	switch {
	case err == nil:
		return nil
	case isReply(err) && strings.Contains(err.Error(), "requires the key to exist"):
		return fmt.Errorf("redis: move group %q of %q: %w", group, topic, ErrNoGroup)
	}
	return inspectError(err, topic, group)
}
