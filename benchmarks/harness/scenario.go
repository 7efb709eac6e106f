package harness

import (
	"slices"
	"time"
)

// Scenario is one question, asked of several contestants under the same load.
type Scenario struct {
	Name  string // short and stable: what -scenario selects
	Title string // a line for the report
	// Measure names how one round is measured: a key of Measures.
	Measure string
	Load    Load
	// Contestants take part, by name, in this order.
	Contestants []string
	// Peer and Best are the contestants that the ratios refer to: what people
	// would use instead, and the ceiling. Either may be empty.
	Peer, Best string
	// Server holds further settings of the redis-server, such as "--appendfsync", "always".
	Server []string
	// Rounds is how many rounds there are, all in the first pass. Zero means as many as
	// the ratios need, within the bounds of the run.
	Rounds int
	// Apart keeps this process off the core that the redis-server is on, where the
	// system can do that: for a single caller, which waits for the server and the
	// server for it. Elsewhere both use all cores.
	Apart bool
	// Cold leaves out the round that warms up: for what takes long, or does not
	// depend on it.
	Cold bool
	// Axis groups scenarios that differ in one number into one series, such as
	// "groups" with At 8. Empty means that it stands alone.
	Axis string
	At   float64
	// Quick says that the short run has it, too.
	Quick bool
}

// References are those that the contestant's ratios refer to: not itself, nobody
// twice.
func (sc Scenario) References(contestant string) (to []string) {
	for _, name := range []string{sc.Peer, sc.Best} {
		if name != "" && name != contestant && !slices.Contains(to, name) {
			to = append(to, name)
		}
	}
	return to
}

// Load is what is done to a contestant. A measure reads the members that it needs.
type Load struct {
	Body     int           // bytes of each body; 0 with Webhooks set
	Webhooks bool          // bodies are real webhooks, 1 to 25 KB
	Random   bool          // bodies cannot be compressed
	Callers  int           // goroutines that publish
	Bulk     int           // messages a Publish call; what is stored to be consumed comes by the hundred at least
	Workers  int           // handlers that may run at a time
	Work     time.Duration // how long each handler takes
	Groups   int           // consumer groups that each get everything
	Rate     int           // messages a second, at fixed times
	Backlog  int           // messages stored before consuming begins
	Pending  int           // messages that a consumer that is gone holds unacknowledged
	Handlers int           // handlers registered for other event types
	Patterns int           // wildcard patterns registered for other event types
	Fails    int           // one in so many messages fails at its first attempt
	InFlight int           // messages held unacknowledged
}
