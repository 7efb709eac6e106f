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
	"log/slog"
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
	// Concurrency is how many handlers run at a time, over all topics. Zero
	// means DefaultConcurrency, 16; at most 65 536.
	Concurrency int
	// Prefetch is how many more deliveries are held ready for them. More of it
	// makes for larger pages and fewer round trips; less of it leaves more for
	// other consumers of the group. Zero means as many as Concurrency; at most
	// 1 048 576.
	Prefetch int
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
	refused  []error // registrations that failed; Run returns them
	started  bool
}

// New returns a Router, or a *events.ConfigError. It does no I/O.
func New(cfg Config) (*Router, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg.Topics = slices.Clone(cfg.Topics)
	if cfg.Concurrency == 0 {
		cfg.Concurrency = DefaultConcurrency
	}
	if cfg.Prefetch == 0 {
		cfg.Prefetch = cfg.Concurrency
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
		handlers: dispatcher{exact: make(map[string]*handler)},
	}
	r.root = &Group{router: r}
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

// Running is closed when Run has begun to receive: what is published from then
// on reaches a handler. It stays open if Run fails to start.
func (r *Router) Running() <-chan struct{} { return r.running }
