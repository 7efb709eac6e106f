// Package router carries events between transports and handlers.
//
// Inbound, a [Router] receives deliveries in bulk, finds each one's handler by
// its event type, runs middleware and handler in one of several lanes, and
// settles the delivery as the handler's error says. It takes Watermill's own
// middleware, and runs on any Watermill subscriber.
//
// Outbound, a [Table] is a message.Publisher that picks transport, topic and
// priority by event type.
package router

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// Defaults of [Config].
const (
	DefaultConcurrency  = 16
	DefaultDrainTimeout = 30 * time.Second
	DefaultStuckGrace   = 10 * time.Second
	// DefaultSpareInFlight is by how much [Config.MaxInFlight] is over what the
	// lanes hold in the normal course, if it is not set.
	DefaultSpareInFlight    = 1000
	DefaultMaxInFlightBytes = 256 << 20
)

// UnknownPolicy says what becomes of an event for which there is no handler.
type UnknownPolicy int

const (
	// DeadLetterUnknown makes it a dead letter whose failure is an
	// [*UnknownTypeError]. It is the zero value. A transport without dead
	// letters retries it, which is logged.
	DeadLetterUnknown UnknownPolicy = iota
	// AckUnknown drops it.
	AckUnknown
)

// Config configures [New].
type Config struct {
	// Subscriber is where deliveries come from. If it is a transport.Source the
	// router receives in bulk and has all four settlements; any other Watermill
	// subscriber runs through transport.FromSubscriber, whose comment says what
	// it cannot do. Required. The router never closes it.
	Subscriber message.Subscriber
	// Topics are the topics to receive from. At least one.
	Topics []string
	// Weights says how often a topic is served when others have messages waiting
	// too: a topic of weight 8, such as that of a [Route] with PriorityHigh, eight
	// times for each time of one of weight 1, so that none starves. Topics of
	// different weights are received apart. Topics that are not in it have weight
	// 1; at most 1000.
	Weights map[string]int
	// Concurrency is how many handlers run at a time, over all topics, of those
	// that are in no lane of their own ([Router.Lane]). Zero means
	// DefaultConcurrency, 16; at most 1 048 576.
	Concurrency int
	// Prefetch is how many more deliveries are held ready for them. More of it
	// makes for larger pages and fewer round trips; less of it leaves more for
	// other consumers of the group. Zero means as many as Concurrency; at most
	// 1 048 576.
	Prefetch int
	// MaxInFlight is how many deliveries are held at most: running, ready, waiting
	// for a failed message of their key, for a lane that is behind, or paused. Zero
	// means Concurrency and Prefetch of all lanes, for each weight of topics, and
	// DefaultSpareInFlight, 1000.
	MaxInFlight int
	// MaxInFlightBytes ends receiving while that much payload is held; one page may
	// go over it. Zero means DefaultMaxInFlightBytes, 256 MiB.
	MaxInFlightBytes int64
	// HandlerTimeout is how long a handler may run. Then its context ends with
	// cause ErrHandlerTimeout. Zero means for ever.
	HandlerTimeout time.Duration
	// StuckGrace is how long a handler may go on after its context has ended
	// (timed out, lease lost). Then it is stuck: its stack is logged, another worker
	// takes its slot, and its delivery is retried; only in an ordered lane its key
	// waits for it. A lane frees as many slots as its Concurrency. It is found out
	// within a quarter of StuckGrace. Zero means DefaultStuckGrace, 10 s.
	StuckGrace time.Duration
	// KillSwitch pauses handlers that are in no lane of their own when too many of
	// them fail. The zero value means none.
	KillSwitch KillSwitchConfig
	// DrainTimeout is how long handlers may go on after Run's context has
	// ended. Then their contexts end with cause events.ErrReleased. Zero means
	// DefaultDrainTimeout, 30 s.
	DrainTimeout time.Duration
	// Codec decodes the bodies of typed handlers. Nil means events.JSON.
	Codec events.Codec
	// RetryDelay says how long to wait after a failed attempt, counted from 1,
	// when the error does not say so itself (events.RetryAfter). It must be
	// safe for concurrent use. Nil means DefaultRetryDelay. There is no limit
	// of attempts here: that is a retry middleware's business.
	RetryDelay func(attempt int) time.Duration
	// Unknown says what becomes of events without handler. Zero means
	// DeadLetterUnknown. A Fallback handler takes precedence.
	Unknown UnknownPolicy
	// Silence names findings that are meant so, by id, such as "EV001": they are
	// neither refused nor logged. docs/RULES.md lists them.
	Silence []string
	// Logger gets failed attempts, dead letters and failed settlements. Nil
	// means slog.Default().
	Logger *slog.Logger
}

// Router receives deliveries and runs their handlers. Register handlers first,
// then [Router.Run] it, once. All methods are safe for concurrent use.
type Router struct {
	cfg     Config
	running chan struct{}
	counts  counters
	life    life

	mu       sync.Mutex
	root     *Group
	handlers dispatcher
	all      []*handler
	lanes    []*LaneConfig // the first one is of those in no lane of their own
	refused  []error       // registrations that failed; Run returns them
	started  bool
	pauses   pauses
	state    State
	session  *session // since Run has begun to receive
}

// New returns a Router, or a *events.ConfigError. It does no I/O.
func New(cfg Config) (*Router, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Topics, cfg.Weights = slices.Clone(cfg.Topics), maps.Clone(cfg.Weights)
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.Prefetch == 0 {
		cfg.Prefetch = cfg.Concurrency
	}
	if cfg.MaxInFlightBytes == 0 {
		cfg.MaxInFlightBytes = DefaultMaxInFlightBytes
	}
	if cfg.StuckGrace == 0 {
		cfg.StuckGrace = DefaultStuckGrace
	}
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = DefaultDrainTimeout
	}
	if cfg.Codec == nil {
		cfg.Codec = events.JSON
	}
	cfg.Silence = slices.Clone(cfg.Silence)
	if cfg.RetryDelay == nil {
		cfg.RetryDelay = DefaultRetryDelay
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	r := &Router{
		cfg:      cfg,
		running:  make(chan struct{}),
		state:    StateNew,
		handlers: dispatcher{exact: make(map[string]*handler)},
	}
	own := &LaneConfig{Concurrency: cfg.Concurrency, Prefetch: cfg.Prefetch, KillSwitch: cfg.KillSwitch}
	own.setDefaults(&cfg)
	r.lanes = []*LaneConfig{own}
	r.root = &Group{router: r, lane: own}
	return r, nil
}

// Each handler at a time is a goroutine, and all that is held has its place in
// two channels: what is over these limits is a mistake.
const (
	maxConcurrency = 1 << 20
	maxPrefetch    = 1 << 20
)

func (c *Config) check() error {
	if nilcheck.IsNil(c.Subscriber) {
		return configError("Config.Subscriber", c.Subscriber, "is nil", "set it to a transport's subscriber, such as redis.NewSubscriber's")
	}
	if len(c.Topics) == 0 {
		return configError("Config.Topics", c.Topics, "is empty", `name at least one topic, such as "user-events"`)
	}
	for i, t := range c.Topics {
		if t == "" || slices.Contains(c.Topics[:i], t) {
			return configError("Config.Topics", c.Topics, "holds an empty or a repeated topic", "name each topic once")
		}
	}
	if c.Concurrency < 0 {
		return configError("Config.Concurrency", c.Concurrency, "is negative", "set it to a number of handlers, or to 0 for 16")
	}
	if c.Concurrency > maxConcurrency {
		return configError("Config.Concurrency", c.Concurrency, "is over 1048576", "set it to how many handlers are to run at a time")
	}
	if c.Prefetch < 0 {
		return configError("Config.Prefetch", c.Prefetch, "is negative", "set it to a number of deliveries, or to 0 for as many as Concurrency")
	}
	if c.Prefetch > maxPrefetch {
		return configError("Config.Prefetch", c.Prefetch, "is over 1048576", "set it to how many deliveries are to be held ready")
	}
	if err := c.checkLimits(); err != nil {
		return err
	}
	if c.DrainTimeout < 0 {
		return configError("Config.DrainTimeout", c.DrainTimeout, "is negative", "set it to a duration, or to 0 for 30 s")
	}
	if c.Codec != nil && nilcheck.IsNil(c.Codec) {
		return configError("Config.Codec", c.Codec, "is a nil pointer", "set it to a codec, or to nil for events.JSON")
	}
	if c.Unknown < DeadLetterUnknown || c.Unknown > AckUnknown {
		return configError("Config.Unknown", c.Unknown, "is no policy", "use router.DeadLetterUnknown or router.AckUnknown")
	}
	return c.checkSilence()
}

func (c *Config) checkLimits() error {
	for topic, weight := range c.Weights {
		if !slices.Contains(c.Topics, topic) {
			return configError("Config.Weights", topic, "is none of Topics", "name the topic as in Topics")
		}
		if weight < 1 || weight > 1000 {
			return configError(fmt.Sprintf("Config.Weights[%q]", topic), weight, "is below 1 or over 1000", "set it to how often the topic is served for each time of one of weight 1")
		}
	}
	switch {
	case c.MaxInFlight < 0:
		return configError("Config.MaxInFlight", c.MaxInFlight, "is negative", "set it to a number of deliveries, or to 0 for 1000 more than the lanes hold in the normal course")
	case c.MaxInFlightBytes < 0:
		return configError("Config.MaxInFlightBytes", c.MaxInFlightBytes, "is negative", "set it to a number of bytes, or to 0 for 256 MiB")
	case c.HandlerTimeout < 0:
		return configError("Config.HandlerTimeout", c.HandlerTimeout, "is negative", "set it to a duration, or to 0 for none")
	case c.StuckGrace < 0:
		return configError("Config.StuckGrace", c.StuckGrace, "is negative", "set it to a duration, or to 0 for 10 s")
	}
	return c.KillSwitch.check("Config.KillSwitch.")
}

// weights returns the weights that topics have, the heaviest first.
func (c *Config) weights() (all []int) {
	for _, topic := range c.Topics {
		if weight := max(c.Weights[topic], 1); !slices.Contains(all, weight) {
			all = append(all, weight)
		}
	}
	slices.SortFunc(all, func(a, b int) int { return b - a })
	return all
}

// Running is closed when Run has begun to receive: what is published from then
// on reaches a handler. It stays open if Run fails to start.
func (r *Router) Running() <-chan struct{} { return r.running }
