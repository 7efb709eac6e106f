package router

import (
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// DefaultMaxWaiting is the default of [LaneConfig.MaxWaiting].
const DefaultMaxWaiting = 100

// FailurePolicy says what becomes of a key of an ordered lane when one of its
// messages is given up: its attempts are used up ([LaneConfig.MaxAttempts]),
// its error is permanent, or too many messages wait behind it
// ([LaneConfig.MaxWaiting]).
type FailurePolicy int

const (
	// SkipMessage makes the failed message a dead letter and goes on with the
	// next one of its key. It is the zero value.
	SkipMessage FailurePolicy = iota
	// ParkKey gives up nothing: the message is tried again and again, whatever
	// its error, and its key waits. Once all that waits has reached
	// Config.MaxInFlight, the router receives nothing more.
	ParkKey
	// DeadLetterKey makes the failed message a dead letter, and those that wait
	// behind it at that moment, in order; the cause of theirs is [ErrKeyGivenUp].
	// A message of the key that arrives later is handled.
	DeadLetterKey
)

// LaneConfig configures [Router.Lane].
type LaneConfig struct {
	// Name tells the lane from others, in logs, Status and Pause. Required.
	Name string
	// Concurrency is how many handlers of the lane run at a time. Zero means
	// that of the router's Config; at most 1 048 576.
	Concurrency int
	// Prefetch is how many more deliveries are held ready for them. In an ordered
	// lane more of it lets other keys pass one that is busy with many messages. Zero
	// means as many as Concurrency; at most 1 048 576.
	Prefetch int
	// OrderBy returns a message's key, such as the order number in its
	// metadata. Messages of one key are handled one after the other, as they
	// were received; keys run in parallel. A message whose key is "" has none and
	// is handled as it comes. It is called once for each message, by the
	// goroutine that receives, so it must be quick. If it panics, the message is
	// retried through the transport, which loses its place. Nil means no order.
	//
	// The order holds within this process, and across processes where the subscriber
	// is exclusive (redis.SubscriberConfig.Exclusive) and all messages of a key are in
	// one topic (Route.Partitions). Otherwise consumers of a group each have some
	// messages of a key; what is released at a shutdown comes back in order, but on
	// Redis beside what is new; and what a crashed consumer had comes back when its
	// lease has run out, after later messages of its key. A handler that cannot bear
	// that compares versions.
	OrderBy func(msg *message.Message) string
	// OnFailure says what becomes of a key whose message is given up. Zero means
	// SkipMessage. It must be zero without OrderBy.
	//
	// Until a message of an ordered lane is given up it stays here, with its lease
	// kept alive, and is tried again after its delay (events.RetryAfter, or
	// Config.RetryDelay); Delivery.Attempt counts up. Meanwhile it occupies no
	// worker, the later messages of its key wait, and other keys go on. The
	// handler gets the same message again, with what middleware has done to its metadata.
	OnFailure FailurePolicy
	// MaxAttempts is at which Delivery.Attempt a message of an ordered lane
	// that fails is given up. Zero means no limit; then MaxWaiting, a permanent
	// error or a poison queue middleware ends it. ParkKey ignores it.
	MaxAttempts int
	// MaxWaiting is how many messages of a key may wait behind one that has
	// failed; with one more that is given up. Zero means DefaultMaxWaiting, 100;
	// ParkKey ignores it.
	MaxWaiting int
	// MaxRunningBytes is how much payload the handlers of the lane may have at a
	// time; a larger message is handled alone. Zero means no limit.
	MaxRunningBytes int64
	// HandlerTimeout is that of Config, for the handlers of this lane. Zero means
	// what is said there; a negative value means none.
	HandlerTimeout time.Duration
	// KillSwitch pauses the lane when too many of its handlers fail. The zero
	// value means none.
	KillSwitch KillSwitchConfig

	index int // among the lanes of the router
}

// Lane returns a [Registrar] whose handlers have workers of their own. Handlers
// outside of any lane share those of [Config.Concurrency]. A slow lane keeps no
// other one waiting until [Config.MaxInFlight] deliveries are held for it.
//
// A wrong configuration is an *events.ConfigError. It may be left unchecked, as
// those of Registrar: the group can be used, and Run refuses to start.
func (r *Router) Lane(cfg LaneConfig, mw ...message.HandlerMiddleware) (*Group, error) {
	g := r.Group(mw...)
	err := cfg.check()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
	case r.started:
		err = errStarted("Lane")
	case slices.ContainsFunc(r.lanes, func(l *LaneConfig) bool { return l.Name == cfg.Name }):
		err = configError("LaneConfig.Name", cfg.Name, "is the name of another lane", "give each lane a name of its own")
	}
	if err != nil {
		r.refused = append(r.refused, err)
		return g, err
	}
	cfg.setDefaults(&r.cfg)
	cfg.index = len(r.lanes)
	r.lanes = append(r.lanes, &cfg)
	g.lane = &cfg
	return g, nil
}

func (c *LaneConfig) check() error {
	switch {
	case c.Name == "":
		return configError("LaneConfig.Name", c.Name, "is empty", `name the lane, such as "orders"`)
	case c.Concurrency < 0 || c.Concurrency > maxConcurrency:
		return configError("LaneConfig.Concurrency", c.Concurrency, "is negative or over 1048576", "set it to how many handlers are to run at a time, or to 0 for as many as the router's")
	case c.Prefetch < 0 || c.Prefetch > maxPrefetch:
		return configError("LaneConfig.Prefetch", c.Prefetch, "is negative or over 1048576", "set it to a number of deliveries, or to 0 for as many as Concurrency")
	case c.OnFailure < SkipMessage || c.OnFailure > DeadLetterKey:
		return configError("LaneConfig.OnFailure", c.OnFailure, "is no policy", "use router.SkipMessage, router.ParkKey or router.DeadLetterKey")
	case c.OrderBy == nil && (c.OnFailure != SkipMessage || c.MaxAttempts != 0 || c.MaxWaiting != 0):
		return configError("LaneConfig.OrderBy", nil, "is nil though OnFailure, MaxAttempts or MaxWaiting is set", "set OrderBy, or leave those to a retry and a poison queue middleware")
	case c.MaxAttempts < 0:
		return configError("LaneConfig.MaxAttempts", c.MaxAttempts, "is negative", "set it to a number of attempts, or to 0 for no limit")
	case c.MaxWaiting < 0:
		return configError("LaneConfig.MaxWaiting", c.MaxWaiting, "is negative", "set it to a number of messages, or to 0 for 100")
	case c.MaxRunningBytes < 0:
		return configError("LaneConfig.MaxRunningBytes", c.MaxRunningBytes, "is negative", "set it to a number of bytes, or to 0 for no limit")
	}
	return c.KillSwitch.check("LaneConfig.KillSwitch.")
}

// setDefaults fills in what is zero.
func (c *LaneConfig) setDefaults(of *Config) {
	if c.Concurrency == 0 {
		c.Concurrency = of.Concurrency
	}
	if c.Prefetch == 0 {
		c.Prefetch = c.Concurrency
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = DefaultMaxWaiting
	}
	if c.HandlerTimeout == 0 {
		c.HandlerTimeout = of.HandlerTimeout
	}
	c.KillSwitch.setDefaults()
}
