package router

import (
	"sync/atomic"

	"github.com/logistically/events/transport"
)

// Stats counts deliveries since the router was made. After Run has returned nil,
// InFlight is zero.
type Stats struct {
	Received     int64 `json:"received"`
	Acked        int64 `json:"acked"`
	Retried      int64 `json:"retried"`
	DeadLettered int64 `json:"dead_lettered"`
	Released     int64 `json:"released"`
	LeaseLost    int64 `json:"lease_lost"` // gone to another consumer while here
	Unsettled    int64 `json:"unsettled"`  // settling failed: they will be delivered again
	InFlight     int64 `json:"in_flight"`  // received, and none of the above yet
}

type counters struct {
	received  atomic.Int64
	settled   [transport.Release + 1]atomic.Int64 // by settlement
	leaseLost atomic.Int64
	unsettled atomic.Int64
}

// Stats returns the counts of this moment. When InFlight is zero, every
// delivery received so far has been settled.
func (r *Router) Stats() Stats {
	c := &r.counts
	s := Stats{
		Acked:        c.settled[transport.Ack].Load(),
		Retried:      c.settled[transport.Retry].Load(),
		DeadLettered: c.settled[transport.DeadLetter].Load(),
		Released:     c.settled[transport.Release].Load(),
		LeaseLost:    c.leaseLost.Load(),
		Unsettled:    c.unsettled.Load(),
	}
	// Read last, so that InFlight may be too high for a moment, never too low.
	s.Received = c.received.Load()
	s.InFlight = s.Received - s.Acked - s.Retried - s.DeadLettered - s.Released - s.LeaseLost - s.Unsettled
	return s
}
