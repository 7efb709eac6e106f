package memory

import (
	"slices"
	"time"

	"github.com/logistically/events/transport"
)

// ownership says which exclusive receiver has a topic of a group.
type ownership struct {
	members []*receiver // that are open, or crashed less than a lease ago
	owner   *receiver
	leaves  time.Time // if not zero: the owner takes nothing more, and has until then to settle
}

// join makes a receiver one of those that share its topics.
func (r *receiver) join() {
	for _, t := range r.topics {
		g := t.groups[r.cfg.Group]
		g.members = append(g.members, r)
	}
	r.broker.wake()
}

// gone reports whether nothing is a receiver's own any more.
func (r *receiver) gone(now time.Time) bool { return r.ended && !r.expires.After(now) }

// keeps is how many topics the receiver has and does not hand over.
func (r *receiver) keeps() (n int) {
	for _, t := range r.topics {
		if g := t.groups[r.cfg.Group]; g.owner == r && g.leaves.IsZero() {
			n++
		}
	}
	return n
}

// mayTake reports whether the receiver may take what a group has of a topic. Whoever
// asks moves things on: it ends the ownership of those that are gone, or have others
// with at least two topics fewer beside them, and takes what is free.
func (r *receiver) mayTake(g *group, now time.Time, earliest func(time.Time)) bool {
	if !r.cfg.Exclusive {
		return true
	}
	owner, leaves := g.owner, g.leaves
	g.members = slices.DeleteFunc(g.members, func(m *receiver) bool { return m.gone(now) })
	if g.owner != nil && g.owner.gone(now) {
		g.give(nil)
	}
	if o := g.owner; o != nil && g.leaves.IsZero() && g.fewest() <= o.keeps()-2 {
		g.leaves = now.Add(o.cfg.Lease)
	}
	if !g.leaves.IsZero() && (len(g.pending) == 0 || !g.leaves.After(now)) {
		g.owner.takeBack(g, transport.ErrLeaseLost)
		g.give(nil)
	}
	if g.owner == nil && g.fewest() == r.keeps() {
		g.give(r)
	}
	if g.owner != owner || !g.leaves.Equal(leaves) {
		r.broker.wake() // It may be another one's turn now, for this topic or for others.
	}
	switch {
	case g.owner != nil && g.owner.ended:
		earliest(g.owner.expires)
	case !g.leaves.IsZero():
		earliest(g.leaves)
	}
	return g.owner == r && g.leaves.IsZero()
}

// fewest is how many topics that member has that has the fewest.
func (g *group) fewest() int {
	least := int(^uint(0) >> 1)
	for _, m := range g.members {
		if !m.ended {
			least = min(least, m.keeps())
		}
	}
	return least
}

// give makes a receiver, or nobody, the owner: it begins with what another one had, in order.
func (g *group) give(to *receiver) {
	g.owner, g.leaves = to, time.Time{}
	slices.SortStableFunc(g.queue, byEntry)
}
