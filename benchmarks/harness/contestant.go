// Package harness measures contestants in scenarios: rounds interleaved, every
// message counted, the processor time of client and server apart.
package harness

import (
	"context"
	"errors"
)

// Kind says what a contestant is measured for.
type Kind string

const (
	Ours    Kind = "ours"    // this library
	Peer    Kind = "peer"    // what people would use instead
	Ceiling Kind = "ceiling" // what the server or a bare loop can do
)

// Contestant is one way to get messages from publishers to handlers.
type Contestant struct {
	Name    string // as the report shows it, such as "events redis, router"
	Kind    Kind
	Library string // module and version
	// Redis says that it needs a redis-server.
	Redis bool
	// Replays says that every group that is new gets all messages stored before,
	// so that one fill serves all rounds.
	Replays bool
	// Limits lists what it cannot do, by the name of a scenario's measure, with
	// the reason that the report gives.
	Limits map[string]string
	// Least is how many messages a round has at least that is measured by handling
	// what is stored: more than it takes up at once, or else that would be all that is
	// measured. Zero means a few hundred.
	Least int
	// Open prepares it for one measurement. What it starts ends with Close.
	Open func(ctx context.Context, env Env) (System, error)
}

// Env is what a contestant runs in.
type Env struct {
	Redis string // host:port of the measurement's redis-server, or ""
	Topic string // not used before
	Dir   string // an empty directory of its own
	Load  Load
	// Measure is what is to be measured, as in Scenario.
	Measure string
}

// System is a contestant that is open. Publish may be called concurrently, and
// while Consume runs.
type System interface {
	// Publish stores the bodies in one call and returns when all of them are
	// acknowledged.
	Publish(ctx context.Context, bodies [][]byte) error
	// Consume calls handle for each message that the group gets, from up to
	// Load.Workers goroutines, until ctx ends, and acknowledges it when handle
	// returns nil; at an error the message comes again. A cancelled ctx is no
	// error. Nothing of it runs any more when it has returned.
	Consume(ctx context.Context, group string, handle Handler) error
	// Stored returns how many messages are stored and readable.
	Stored(ctx context.Context) (int, error)
	Close() error
}

// Handler handles one message body.
type Handler func(ctx context.Context, body []byte) error

// External is a contestant that cannot be called message by message: another
// program that measures itself. Its System also implements this.
type External interface {
	// Measure runs the load and returns its figure in the scenario's unit.
	Measure(ctx context.Context, measure string) (messages int, seconds float64, err error)
}

// Flusher is a System whose Publish returns before its messages are stored: the
// clock of "publish" stops when Flush has returned.
type Flusher interface {
	Flush(ctx context.Context) error
}

// ErrUnsupported is returned by what a contestant cannot do.
var ErrUnsupported = errors.New("not supported by this contestant")
