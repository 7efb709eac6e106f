package router

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

func TestPanicReachesMiddlewareAsAnError(t *testing.T) {
	bubble(t, "and is retried, or a dead letter if a middleware says so", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		seen := 0
		r.Use(func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				out, err := next(msg)
				if p, ok := errors.AsType[*events.PanicError](err); ok && len(p.Stack) > 0 {
					seen++
				}
				if msg.Metadata[events.MetadataType] == "give.up" {
					err = events.Permanent(err)
				}
				return out, err
			}
		})
		must(t, r.Fallback(func(*message.Message) error { panic("ouch") }))
		stop := start(t, r)
		f.deliver("again")
		synctest.Wait()
		f.deliver("give.up")
		synctest.Wait()
		must(t, stop())
		o := f.settled()
		if seen != 2 || len(o) != 2 || o[0].Settlement != transport.Retry || o[1].Settlement != transport.DeadLetter {
			t.Fatalf("middleware saw %d, settled %v", seen, o)
		}
		if o[1].Metadata[transport.MetadataFailureHandler] != fallbackName || o[1].Metadata[transport.MetadataFailureStack] == "" {
			t.Errorf("metadata %v", o[1].Metadata)
		}
	})
	bubble(t, "and a middleware's own panic is retried too", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		handle(t, r, "a", nothing, func(message.HandlerFunc) message.HandlerFunc {
			return func(*message.Message) ([]*message.Message, error) { panic("ouch") }
		})
		stop := start(t, r)
		f.deliver("a")
		synctest.Wait()
		must(t, stop())
		if o := only(t, f); o.Settlement != transport.Retry {
			t.Errorf("settled by %v", o.Settlement)
		}
	})
}

func TestPanicOfAMiddlewareReachesThoseAroundIt(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		r.Use(func(next message.HandlerFunc) message.HandlerFunc {
			return func(msg *message.Message) ([]*message.Message, error) {
				out, err := next(msg)
				if p, ok := errors.AsType[*events.PanicError](err); !ok || p.Value != "ouch" {
					t.Errorf("got %v", err)
				}
				return out, events.Permanent(err)
			}
		})
		handle(t, r, "a", nothing, func(message.HandlerFunc) message.HandlerFunc {
			return func(*message.Message) ([]*message.Message, error) { panic("ouch") }
		})
		stop := start(t, r)
		f.deliver("a")
		synctest.Wait()
		must(t, stop())
		if o := only(t, f); o.Settlement != transport.DeadLetter || o.Metadata[transport.MetadataFailureStack] == "" {
			t.Errorf("settled by %v with %v", o.Settlement, o.Metadata)
		}
	})
}

func TestMiddlewareThatCannotBeBuiltKeepsRunFromStarting(t *testing.T) {
	for name, tt := range map[string]struct {
		mw   message.HandlerMiddleware
		want string
	}{
		"it panics":           {func(message.HandlerFunc) message.HandlerFunc { panic("ouch") }, "panic: ouch"},
		"it returns no chain": {func(message.HandlerFunc) message.HandlerFunc { return nil }, "it returned a nil handler"},
	} {
		f := newFake()
		r := newRouter(t, f)
		handle(t, r, "a", nothing, passThrough, tt.mw)
		want := `router: build middleware 2 of 2, counted from the outside, around handler "a": ` + tt.want
		if err := r.Run(t.Context()); err == nil || err.Error() != want || len(f.limits) > 0 {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestRunRefusesANilContext(t *testing.T) {
	var none context.Context
	r := newRouter(t, newFake())
	if err := r.Run(none); !errors.Is(err, errNilContext) {
		t.Errorf("got %v", err)
	}
	must(t, start(t, r)())
}

// failure is an error whose methods need it to be there.
type failure struct{ error }

func (f *failure) Error() string { return f.error.Error() }
func (f *failure) Unwrap() error { return f.error }

func TestErrorWhoseMethodsPanicIsSettledLikeAnyOther(t *testing.T) {
	giveUp := func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			out, err := next(msg)
			return out, events.Permanent(err)
		}
	}
	for name, tt := range map[string]struct {
		mw   []message.HandlerMiddleware
		want transport.Settlement
	}{
		"by a retry":      {nil, transport.Retry},
		"by dead letters": {[]message.HandlerMiddleware{giveUp}, transport.DeadLetter},
	} {
		bubble(t, name, func(t *testing.T) {
			f := newFake()
			var log bytes.Buffer
			r := newRouter(t, f, func(c *Config) { c.Logger = slog.New(careless{slog.NewTextHandler(&log, nil)}) })
			handle(t, r, "a", func(*message.Message) error { var none *failure; return none }, tt.mw...)
			handle(t, r, "b", nothing)
			stop := start(t, r)
			f.deliver("a", "b")
			synctest.Wait()
			must(t, stop())
			for _, o := range f.settled() {
				if want := map[string]transport.Settlement{"id-of-a": tt.want, "id-of-b": transport.Ack}[o.Delivery.ID]; o.Settlement != want {
					t.Errorf("%s settled by %v, want %v", o.Delivery.ID, o.Settlement, want)
				}
				if reason := o.Metadata[transport.MetadataFailureReason]; o.Settlement == transport.DeadLetter && !strings.Contains(reason, "a nil *router.failure") {
					t.Errorf("reason %q", reason)
				}
			}
			if s := r.Stats(); s.Received != 2 || s.InFlight != 0 {
				t.Errorf("stats %+v", s)
			}
			if strings.Count(log.String(), "id=id-of-a") != 1 || !strings.Contains(log.String(), "nil pointer") {
				t.Errorf("log %s", log.String())
			}
		})
	}
}

// careless is a log handler that asks errors for their text unprotected.
type careless struct{ slog.Handler }

func (h careless) Handle(ctx context.Context, rec slog.Record) error {
	rec.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			_ = err.Error()
		}
		return true
	})
	return h.Handler.Handle(ctx, rec)
}

// broken is a receiver that panics.
type broken struct {
	*fake
	open, receive, settle bool
}

func (b *broken) Receiver(...string) (transport.Receiver, error) {
	if b.open {
		panic("ouch")
	}
	return b, nil
}

func (b *broken) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	if b.receive {
		panic("ouch")
	}
	return b.fake.Receive(ctx, limit)
}

func (b *broken) Settle(ctx context.Context, o ...transport.Outcome) error {
	if b.settle {
		panic("ouch")
	}
	return b.fake.Settle(ctx, o...)
}

func TestTransportThatPanicsDoesNotTakeTheProgramAlong(t *testing.T) {
	run := func(t *testing.T, b *broken) (*Router, error) {
		r, err := New(Config{Subscriber: b, Topics: []string{"topic"}, Logger: quiet})
		must(t, err)
		handle(t, r, "a", nothing)
		b.deliver("a")
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		synctest.Wait()
		stop()
		return r, <-ended
	}
	bubble(t, "opening or receiving is an error of Run", func(t *testing.T) {
		for _, b := range []*broken{{fake: newFake(), open: true}, {fake: newFake(), receive: true}} {
			_, err := run(t, b)
			if _, ok := errors.AsType[*events.PanicError](err); !ok {
				t.Errorf("open %v, receive %v: got %v", b.open, b.receive, err)
			}
		}
	})
	bubble(t, "settling leaves the delivery unsettled", func(t *testing.T) {
		r, err := run(t, &broken{fake: newFake(), settle: true})
		must(t, err)
		if s := r.Stats(); s.Unsettled != 1 || s.Acked != 0 || s.InFlight != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}
