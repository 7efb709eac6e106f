package eventstest

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/memory"
)

// Defaults of [Config].
const (
	DefaultName  = "test"
	DefaultLimit = 7 * 24 * time.Hour
)

// Config configures [New]. Its zero value is right for a service that has a
// router of its own.
type Config struct {
	// Router configures [Kit.Router]. Without Topics there is none. The kit sets
	// the Subscriber. A nil Logger means the test's log, which go test shows when
	// the test fails or by -v.
	Router router.Config
	// Group is the consumer group of that router. Empty means DefaultName, "test".
	Group string
	// Publisher configures [Kit.Events] and [Kit.Publish]. An empty Origin means
	// DefaultName, "test"; a nil Logger the test's log.
	Publisher events.PublisherConfig
	// Limit is for how long, in virtual time, [Kit.Settle] lets events be
	// retried before it fails the test. Zero means DefaultLimit, 7 days.
	Limit time.Duration
}

// Kit is a transport in memory with a router and a publisher, and remembers
// what becomes of every event. Make it with [New]. What the code under test
// uses of it (Router, Events, Publisher, the results of Subscriber and
// Middleware) is safe for concurrent use; the other methods are for the
// goroutine of the test.
type Kit struct {
	// Router is the router of Config.Router, nil if that names no topics.
	// Register handlers on it. It is run from the first Wait, Settle or Advance on.
	Router *router.Router
	// Events publishes typed events over Publisher.
	Events *events.Publisher
	// Publisher is what the code under test publishes to in place of its
	// transport's publisher.
	Publisher message.Publisher

	t       testing.TB
	cfg     Config
	log     *slog.Logger
	broker  *memory.Broker
	journal *journal
	faults  faults
	changed chan struct{} // told when a delivery is settled or a Run ends

	ctx     context.Context // of everything that Run runs
	cancel  context.CancelFunc
	runs    sync.WaitGroup
	started bool // the router is

	mu     sync.Mutex
	routes []route // what is received, and for which group
	close  []func() error
	ended  []error // of runs, not reported yet
}

// New returns a Kit. It must be called inside synctest.Test, with the inner t.
// When the test ends, [Kit.Stop] is called. A wrong configuration fails the test.
func New(t testing.TB, cfg Config) *Kit {
	t.Helper()
	if !inBubble() {
		t.Fatal("eventstest: New is called outside of a bubble: put the test into synctest.Test(t, func(t *testing.T) { ... }) and pass the inner t")
	}
	cfg.Group = cmp.Or(cfg.Group, DefaultName)
	cfg.Publisher.Origin = cmp.Or(cfg.Publisher.Origin, DefaultName)
	cfg.Limit = cmp.Or(cfg.Limit, DefaultLimit)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if cfg.Publisher.Logger == nil {
		cfg.Publisher.Logger = log
	}
	if cfg.Router.Logger == nil {
		cfg.Router.Logger = log
	}
	k := &Kit{
		t:       t,
		cfg:     cfg,
		log:     log,
		broker:  memory.NewBroker(memory.BrokerConfig{}),
		journal: newJournal(),
		changed: make(chan struct{}, 1),
	}
	k.ctx, k.cancel = context.WithCancel(t.Context())
	t.Cleanup(k.Stop)
	if err := k.build(); err != nil {
		t.Fatalf("eventstest: %v", err)
	}
	return k
}

func inBubble() (in bool) {
	defer func() { _ = recover() }() // That is how Wait says that it is outside.
	synctest.Wait()
	return true
}

func (k *Kit) build() error {
	if k.cfg.Limit < 0 {
		return &events.ConfigError{Field: "eventstest.Config.Limit", Value: k.cfg.Limit, Problem: "is negative", Remedy: "set it to a duration, or to 0 for 7 days"}
	}
	if k.cfg.Router.Subscriber != nil {
		return &events.ConfigError{Field: "eventstest.Config.Router.Subscriber", Value: k.cfg.Router.Subscriber, Problem: "is set", Remedy: "leave it to the kit"}
	}
	inner, err := memory.NewPublisher(k.broker)
	if err != nil {
		return err
	}
	k.Publisher = &publisher{kit: k, inner: inner}
	if k.Events, err = events.NewPublisher(k.Publisher, k.cfg.Publisher); err != nil {
		return err
	}
	if len(k.cfg.Router.Topics) == 0 {
		return nil
	}
	k.cfg.Router.Subscriber = k.Subscriber(k.cfg.Group)
	k.Router, err = router.New(k.cfg.Router)
	return err
}

// Publish publishes an event by [Kit.Events] and returns its id. An error
// fails the test.
func (k *Kit) Publish(eventType string, body any) (id string) {
	k.t.Helper()
	msg, err := k.Events.Message(k.t.Context(), eventType, body)
	if err == nil {
		topic := events.DefaultTopic
		if k.cfg.Publisher.Topic != nil {
			topic = k.cfg.Publisher.Topic
		}
		err = k.Publisher.Publish(topic(eventType), msg)
	}
	if err != nil {
		k.t.Fatalf("eventstest: Publish: %v", err)
	}
	return msg.UUID
}

// Run runs what consumes events, such as the Run of a service or of a router,
// on a goroutine until [Kit.Stop] ends its context. An error that it returns
// fails the test.
func (k *Kit) Run(run func(ctx context.Context) error) {
	k.runs.Go(func() {
		err := run(k.ctx)
		if err != nil && (k.ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
			k.mu.Lock()
			k.ended = append(k.ended, err)
			k.mu.Unlock()
		}
		k.wake()
	})
}

// Stop ends the context of everything that the kit runs and waits for it; what
// is pending then stays so. It need not be called, as the end of the test does:
// call it to look at what a shutdown leaves behind. It may be called again.
func (k *Kit) Stop() {
	k.t.Helper()
	k.cancel()
	k.runs.Wait()
	for _, err := range k.failures() {
		k.t.Errorf("eventstest: what the kit ran has failed: %v", err)
	}
	k.mu.Lock()
	closers := k.close
	k.close = nil
	k.mu.Unlock()
	for _, shut := range closers {
		if err := shut(); err != nil {
			k.t.Errorf("eventstest: close: %v", err)
		}
	}
}

// failures returns the errors of runs that are not reported yet.
func (k *Kit) failures() []error {
	k.mu.Lock()
	defer k.mu.Unlock()
	errs := k.ended
	k.ended = nil
	return errs
}

func (k *Kit) wake() {
	select {
	case k.changed <- struct{}{}:
	default:
	}
}
