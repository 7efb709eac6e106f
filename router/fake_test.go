package router

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// fake is a subscriber, source and receiver that hands over what the test
// gives it and records what comes back.
type fake struct {
	in   chan *transport.Delivery
	fail chan error // what Receive is to fail with
	can  transport.Capabilities

	mu        sync.Mutex
	outcomes  []transport.Outcome
	calls     int // of Settle
	limits    []int
	given     []*transport.Delivery
	closed    int
	settleErr func(transport.Outcome) error
	block     chan struct{} // Settle waits for it, or for its context
}

func newFake() *fake {
	return &fake{in: make(chan *transport.Delivery, 1000), fail: make(chan error, 1), can: transport.Capabilities{DeadLetter: true, Attempts: true}}
}

func (f *fake) Subscribe(context.Context, string) (<-chan *message.Message, error) {
	return nil, errors.New("not used")
}
func (f *fake) Receiver(...string) (transport.Receiver, error) { return f, nil }
func (f *fake) Capabilities() transport.Capabilities           { return f.can }

func (f *fake) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	f.mu.Lock()
	f.limits = append(f.limits, limit)
	f.mu.Unlock()
	var page []*transport.Delivery
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.given = append(f.given, page...)
	}()
	select {
	case d := <-f.in:
		page = append(page, d)
	case err := <-f.fail:
		return nil, err
	case <-ctx.Done():
		return nil, fmt.Errorf("receive: %w", ctx.Err())
	}
	for len(page) < limit {
		select {
		case d := <-f.in:
			page = append(page, d)
		default:
			return page, nil
		}
	}
	return page, nil
}

func (f *fake) Settle(ctx context.Context, outcomes ...transport.Outcome) error {
	if f.block != nil {
		select {
		case <-f.block:
		case <-ctx.Done():
			e := &transport.SettleError{}
			for _, o := range outcomes {
				e.Unsettled = append(e.Unsettled, transport.UnsettledOutcome{Outcome: o, Err: ctx.Err()})
			}
			return e
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	e := &transport.SettleError{}
	for _, o := range outcomes {
		if f.settleErr != nil {
			if err := f.settleErr(o); err != nil {
				e.Unsettled = append(e.Unsettled, transport.UnsettledOutcome{Outcome: o, Err: err})
				continue
			}
		}
		f.outcomes = append(f.outcomes, o)
	}
	if len(e.Unsettled) > 0 {
		return e
	}
	return nil
}

func (f *fake) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed++
	return nil
}

func (f *fake) settled() []transport.Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]transport.Outcome(nil), f.outcomes...)
}

// released returns what was left for Close to release.
func (f *fake) released() (left []*transport.Delivery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range f.given {
		if !slices.ContainsFunc(f.outcomes, func(o transport.Outcome) bool { return o.Delivery == d }) {
			left = append(left, d)
		}
	}
	return left
}

func (f *fake) deliver(types ...string) {
	for _, t := range types {
		f.in <- delivery(t)
	}
}

func delivery(eventType string) *transport.Delivery {
	msg := message.NewMessage("uuid-of-"+eventType, []byte(`{"n":1}`))
	msg.Metadata[events.MetadataType] = eventType
	return &transport.Delivery{Message: msg, Topic: "topic", ID: "id-of-" + eventType, Attempt: 1}
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func newRouter(t testing.TB, f *fake, change ...func(*Config)) *Router {
	t.Helper()
	cfg := Config{Subscriber: f, Topics: []string{"topic"}, Logger: quiet}
	for _, c := range change {
		c(&cfg)
	}
	r, err := New(cfg)
	must(t, err)
	return r
}

// start runs r until stop is called; stop returns Run's error.
func start(t testing.TB, r *Router) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	<-r.Running()
	return func() error {
		cancel()
		return <-done
	}
}

// bubble runs a test on synthetic time.
func bubble(t *testing.T, name string, fn func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, fn) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func handle(t testing.TB, r Registrar, pattern string, fn func(msg *message.Message) error, mw ...message.HandlerMiddleware) {
	t.Helper()
	must(t, r.HandleMessage(pattern, fn, mw...))
}

// only returns the one outcome there is, or fails.
func only(t testing.TB, f *fake) transport.Outcome {
	t.Helper()
	o := f.settled()
	if len(o) != 1 {
		t.Fatalf("%d outcomes settled, want 1: %v", len(o), o)
	}
	return o[0]
}

func wantConfigError(t testing.TB, err error) *events.ConfigError {
	t.Helper()
	e, ok := errors.AsType[*events.ConfigError](err)
	if !ok {
		t.Fatalf("got %v, want a *events.ConfigError", err)
	}
	if e.Field == "" || e.Problem == "" || e.Remedy == "" {
		t.Errorf("incomplete: %#v", e)
	}
	return e
}

func contextWithCause(t testing.TB) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return ctx, cancel
}
