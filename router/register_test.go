package router

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

func nothing(*message.Message) error { return nil }

func TestNewRefusesConfig(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no subscriber":     func(c *Config) { c.Subscriber = nil },
		"a nil pointer":     func(c *Config) { c.Subscriber = (*fake)(nil) },
		"a nil codec":       func(c *Config) { c.Codec = (*nilCodec)(nil) },
		"too many lanes":    func(c *Config) { c.Concurrency = math.MaxInt },
		"too much prefetch": func(c *Config) { c.Prefetch = math.MaxInt },
		"no topics":         func(c *Config) { c.Topics = nil },
		"an empty topic":    func(c *Config) { c.Topics = []string{""} },
		"a repeated topic":  func(c *Config) { c.Topics = []string{"a", "b", "a"} },
		"negative lanes":    func(c *Config) { c.Concurrency = -1 },
		"negative prefetch": func(c *Config) { c.Prefetch = -1 },
		"negative drain":    func(c *Config) { c.DrainTimeout = -1 },
		"unknown policy":    func(c *Config) { c.Unknown = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Subscriber: newFake(), Topics: []string{"a"}}
			change(&cfg)
			_, err := New(cfg)
			wantConfigError(t, err)
		})
	}
}

type nilCodec struct{ events.Codec }

func TestRegistrationIsRefusedAndRunDoesNotStart(t *testing.T) {
	typed := func(context.Context, events.Event[int]) error { return nil }
	for name, register := range map[string]func(r *Router) error{
		"nil typed handler": func(r *Router) error { return Handle[int](r, "a", nil) },
		"nil handler":       func(r *Router) error { return r.HandleMessage("a", nil) },
		"nil publisher": func(r *Router) error {
			return r.HandleAndPublish("a", message.PassthroughHandler, nil, "t")
		},
		"nil pointer as publisher": func(r *Router) error {
			return r.HandleAndPublish("a", message.PassthroughHandler, (*capture)(nil), "t")
		},
		"no topic to publish to": func(r *Router) error {
			return r.HandleAndPublish("a", message.PassthroughHandler, &capture{}, "")
		},
		"nil publishing handler": func(r *Router) error { return r.HandleAndPublish("a", nil, &capture{}, "t") },
		"nil fallback":           func(r *Router) error { return r.Fallback(nil) },
		"bad pattern":            func(r *Router) error { return Handle(r, "a.**.b", typed) },
		"nil middleware":         func(r *Router) error { return Handle(r, "a", typed, nil) },
		"duplicate handler": func(r *Router) error {
			return errors.Join(Handle(r, "a", typed), r.Group().HandleMessage("a", nothing))
		},
		"duplicate pattern": func(r *Router) error {
			return errors.Join(Handle(r, "a.*", typed), Handle(r, "a.*", typed))
		},
		"duplicate open pattern": func(r *Router) error {
			return errors.Join(Handle(r, "a.**", typed), Handle(r, "a.**", typed))
		},
		"second fallback": func(r *Router) error { return errors.Join(r.Fallback(nothing), r.Fallback(nothing)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t, newFake())
			wantConfigError(t, register(r))
			wantConfigError(t, r.Run(t.Context()))
		})
	}
	t.Run("nil middleware of Use and Group", func(t *testing.T) {
		r := newRouter(t, newFake())
		r.Use(nil)
		r.Group(nil)
		err := r.Run(t.Context())
		wantConfigError(t, err)
		if n := strings.Count(err.Error(), "nil middleware"); n != 2 {
			t.Errorf("%d errors, want 2: %v", n, err)
		}
	})
}

func TestHandlerAddedWhileRunningIsRefused(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		r := newRouter(t, newFake())
		stop := start(t, r)
		wantConfigError(t, r.HandleMessage("a", nothing))
		wantConfigError(t, r.Fallback(nothing))
		r.Use(func(h message.HandlerFunc) message.HandlerFunc { return h })
		must(t, stop())
	})
}

// trail is a middleware that notes its name on the way in and out.
type trail struct {
	mu    sync.Mutex
	notes []string
}

func (tr *trail) note(s string) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.notes = append(tr.notes, s)
}

func (tr *trail) mw(name string) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			tr.note(name)
			defer tr.note("/" + name)
			return next(msg)
		}
	}
}

func TestMiddlewareRunsFromTheRoutersToTheHandlersOwn(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		var tr trail
		r.Use(tr.mw("all1"), tr.mw("all2"))
		inner := r.Group(tr.mw("outer")).Group(tr.mw("inner1"), tr.mw("inner2"))
		handle(t, inner, "a", func(*message.Message) error { tr.note("fn"); return nil }, tr.mw("own1"), tr.mw("own2"))
		handle(t, r, "b", func(*message.Message) error { tr.note("b"); return nil })
		r.Use(tr.mw("late"))
		stop := start(t, r)
		f.deliver("a")
		synctest.Wait()
		want := strings.Fields("all1 all2 late outer inner1 inner2 own1 own2 fn /own2 /own1 /inner2 /inner1 /outer /late /all2 /all1")
		if !slices.Equal(tr.notes, want) {
			t.Errorf("got  %v\nwant %v", tr.notes, want)
		}
		tr.notes = nil
		f.deliver("b")
		synctest.Wait()
		if want := strings.Fields("all1 all2 late b /late /all2 /all1"); !slices.Equal(tr.notes, want) {
			t.Errorf("got  %v\nwant %v", tr.notes, want)
		}
		must(t, stop())
	})
}

func TestMiddlewareSlicesMayBeUsedAgain(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f, func(c *Config) { c.Concurrency = 1 })
		var tr trail
		all, group, own := []message.HandlerMiddleware{tr.mw("all")}, []message.HandlerMiddleware{tr.mw("group")}, []message.HandlerMiddleware{tr.mw("own")}
		r.Use(all...)
		g := r.Group(group...)
		handle(t, g, "a", nothing, own...)
		all[0], group[0], own[0] = tr.mw("other"), tr.mw("other"), tr.mw("other")
		handle(t, g, "b", nothing, own...)
		stop := start(t, r)
		f.deliver("a", "b")
		synctest.Wait()
		must(t, stop())
		if want := strings.Fields("all group own /own /group /all all group other /other /group /all"); !slices.Equal(tr.notes, want) {
			t.Errorf("got  %v\nwant %v", tr.notes, want)
		}
	})
}

func TestUnknownType(t *testing.T) {
	run := func(t *testing.T, f *fake, change func(*Config)) transport.Outcome {
		r := newRouter(t, f, change)
		stop := start(t, r)
		f.deliver("no.such")
		synctest.Wait()
		must(t, stop())
		return only(t, f)
	}
	isUnknown := func(t *testing.T, err error) {
		t.Helper()
		u, ok := errors.AsType[*UnknownTypeError](err)
		if !ok || *u != (UnknownTypeError{"no.such", "topic"}) || !strings.Contains(err.Error(), "Fallback") {
			t.Errorf("cause %v", err)
		}
	}
	bubble(t, "is a dead letter", func(t *testing.T) {
		o := run(t, newFake(), func(*Config) {})
		if o.Settlement != transport.DeadLetter {
			t.Errorf("settled by %v", o.Settlement)
		}
		isUnknown(t, o.Cause)
	})
	bubble(t, "is acked by AckUnknown", func(t *testing.T) {
		if o := run(t, newFake(), func(c *Config) { c.Unknown = AckUnknown }); o.Settlement != transport.Ack {
			t.Errorf("settled by %v", o.Settlement)
		}
	})
	bubble(t, "is retried where there are no dead letters", func(t *testing.T) {
		f := newFake()
		f.can = transport.Capabilities{}
		o := run(t, f, func(*Config) {})
		if o.Settlement != transport.Retry {
			t.Errorf("settled by %v", o.Settlement)
		}
		isUnknown(t, o.Cause)
	})
}
