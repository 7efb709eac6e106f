package redis

import "sync/atomic"

// Incidents counts what has gone wrong for the receivers of a Subscriber, its
// subscriptions included, and was dealt with. Each is logged, too.
type Incidents struct {
	// Outages is how often reading began to fail: the server was away, loading,
	// failed over, or refused.
	Outages int64
	// GroupsCreatedAgain is how many groups were gone (FLUSHALL, a deleted stream or
	// group, a failover) and were created again, one for each stream. (XGROUP CREATE)
	GroupsCreatedAgain int64
	// LeasesLost is how many deliveries went to another consumer before they were settled.
	LeasesLost int64
	// Undecodable is how many entries were no message and went to the dead letters.
	Undecodable int64
}

// Incidents returns the counts since the Subscriber was made.
func (s *Subscriber) Incidents() Incidents {
	return Incidents{
		Outages:            s.incidents.outages.Load(),
		GroupsCreatedAgain: s.incidents.groups.Load(),
		LeasesLost:         s.incidents.leases.Load(),
		Undecodable:        s.incidents.undecodable.Load(),
	}
}

type incidents struct {
	outages, groups, leases, undecodable atomic.Int64
}
