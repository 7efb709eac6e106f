package router

import (
	"context"
	"reflect"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"github.com/logistically/events/transport"
)

// Registrar takes handlers: a [*Router], or a [*Group] of handlers that share
// middleware.
//
// A pattern is an event type ("user.created"), or has wildcards: * stands for
// exactly one segment, ** as the last segment for one or more. Of several that
// match, an exact one wins; then, segment by segment from the left, a literal
// beats * and * beats **. The order of registration does not matter.
//
// All methods return a *events.ConfigError for a nil function, a bad pattern,
// one that is registered already, or a call after Run has started. An error
// may be left unchecked: [Router.Run] refuses to start with it.
type Registrar interface {
	// HandleMessage registers a Watermill handler that publishes nothing.
	HandleMessage(pattern string, fn message.NoPublishHandlerFunc, mw ...message.HandlerMiddleware) error
	// HandleAndPublish registers a Watermill handler whose messages go to topic
	// of pub, in one call, before the delivery is acked. If publishing fails
	// the delivery is retried, so a message may go out more than once; with
	// middleware.Idempotency and pub on the server of the delivery, they go out with
	// the ack, once.
	//
	// Produced messages that lack them get the correlation and trace of the
	// handled event, and its id as causation.
	HandleAndPublish(pattern string, fn message.HandlerFunc, pub message.Publisher, topic string, mw ...message.HandlerMiddleware) error
	// Fallback registers the handler of all events that no pattern matches. A
	// router has at most one.
	Fallback(fn message.NoPublishHandlerFunc, mw ...message.HandlerMiddleware) error
	// Group returns a group inside this one; its middleware runs inside that
	// of this one and outside the handlers' own.
	Group(mw ...message.HandlerMiddleware) *Group

	group() *Group // Only this package implements Registrar.
}

var (
	_ Registrar = (*Router)(nil)
	_ Registrar = (*Group)(nil)
)

// Group is a set of handlers that share middleware, and a lane. Make it with
// [Router.Group] or [Router.Lane].
type Group struct {
	router *Router
	parent *Group
	lane   *LaneConfig
	mw     []message.HandlerMiddleware
}

// Handle registers fn for events that match pattern, with bodies decoded into
// T by [Config.Codec]. A body that does not decode is a permanent failure.
//
// What fn returns decides about the delivery: nil acks it, and so does
// events.Discard; events.Permanent makes it a dead letter; events.RetryAfter
// and any other error bring it back later. So does a panic, as a
// *events.PanicError. fn is called by up to [Config.Concurrency] goroutines at
// a time, or that of its lane. Its context ends when the drain deadline has passed (with cause
// events.ErrReleased), when the delivery's lease is lost, or when a middleware
// says so, and not as soon as Run's context does.
func Handle[T any](reg Registrar, pattern string, fn func(ctx context.Context, ev events.Event[T]) error, mw ...message.HandlerMiddleware) error {
	if fn == nil {
		return reg.HandleMessage(pattern, nil, mw...)
	}
	codec := reg.group().router.cfg.Codec
	err := reg.HandleMessage(pattern, func(msg *message.Message) error {
		ev, err := events.Decode[T](msg, codec)
		if err != nil {
			return &decodeError{err}
		}
		return fn(msg.Context(), ev)
	}, mw...)
	return reg.group().router.describeAs(pattern, given{fn, reflect.TypeFor[T]()}, err)
}

// HandleMessage implements [Registrar].
func (r *Router) HandleMessage(pattern string, fn message.NoPublishHandlerFunc, mw ...message.HandlerMiddleware) error {
	return r.root.HandleMessage(pattern, fn, mw...)
}

// HandleAndPublish implements [Registrar].
func (r *Router) HandleAndPublish(pattern string, fn message.HandlerFunc, pub message.Publisher, topic string, mw ...message.HandlerMiddleware) error {
	return r.root.HandleAndPublish(pattern, fn, pub, topic, mw...)
}

// Fallback implements [Registrar].
func (r *Router) Fallback(fn message.NoPublishHandlerFunc, mw ...message.HandlerMiddleware) error {
	return r.root.Fallback(fn, mw...)
}

// Group implements [Registrar].
func (r *Router) Group(mw ...message.HandlerMiddleware) *Group { return r.root.Group(mw...) }

func (r *Router) group() *Group { return r.root }

// Use adds middleware around all handlers, those registered already included.
// The first one added is the outermost. What panics inside a middleware, be it
// another one, is a *events.PanicError to it. Middleware does not see events for
// which there is no handler. A nil middleware makes Run refuse to start; a call
// after Run has started changes nothing and is logged as an error.
func (r *Router) Use(mw ...message.HandlerMiddleware) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started {
		r.cfg.Logger.Error("middleware added after Run has started is not used", "error", errStarted("Router.Use"))
		return
	}
	if err := checkMiddleware("Router.Use", mw); err != nil {
		r.refused = append(r.refused, err)
		return
	}
	r.root.mw = append(r.root.mw, mw...)
}

// HandleMessage implements [Registrar].
func (g *Group) HandleMessage(pattern string, fn message.NoPublishHandlerFunc, mw ...message.HandlerMiddleware) error {
	return g.router.add("HandleMessage", pattern, &handler{fn: publishNothing(fn), given: given{fn: fn}, mw: mw, group: g})
}

// HandleAndPublish implements [Registrar].
func (g *Group) HandleAndPublish(pattern string, fn message.HandlerFunc, pub message.Publisher, topic string, mw ...message.HandlerMiddleware) error {
	const name = "HandleAndPublish"
	if nilcheck.IsNil(pub) {
		return g.router.refuse(configError(name+" pub", pub, "is nil", "pass a publisher, or use HandleMessage"))
	}
	if topic == "" {
		return g.router.refuse(configError(name+" topic", topic, "is empty", "name the topic to publish to"))
	}
	return g.router.add(name, pattern, &handler{fn: fn, given: given{fn: fn}, mw: mw, group: g, route: transport.Route{Publisher: pub, Topic: topic}})
}

// Fallback implements [Registrar].
func (g *Group) Fallback(fn message.NoPublishHandlerFunc, mw ...message.HandlerMiddleware) error {
	return g.router.add("Fallback", "", &handler{fn: publishNothing(fn), given: given{fn: fn}, mw: mw, group: g})
}

// Group implements [Registrar].
func (g *Group) Group(mw ...message.HandlerMiddleware) *Group {
	if err := checkMiddleware("Group", mw); err != nil {
		_ = g.router.refuse(err) // Run returns it; Group itself cannot.
		mw = nil
	}
	return &Group{router: g.router, parent: g, lane: g.lane, mw: slices.Clone(mw)}
}

func (g *Group) group() *Group { return g }

func publishNothing(fn message.NoPublishHandlerFunc) message.HandlerFunc {
	if fn == nil {
		return nil
	}
	return func(msg *message.Message) ([]*message.Message, error) { return nil, fn(msg) }
}

// add registers h under a pattern, or as the fallback when name says so.
func (r *Router) add(name, text string, h *handler) error {
	if h.fn == nil {
		return r.refuse(configError(name+" fn", nil, "is nil", "pass a handler function"))
	}
	h.mw = slices.Clone(h.mw) // The caller may use its slice again.
	if err := checkMiddleware(name, h.mw); err != nil {
		return r.refuse(err)
	}
	fallback := name == "Fallback"
	h.pattern.text = fallbackName
	if !fallback {
		p, err := parsePattern(name+" pattern", text)
		if err != nil {
			return r.refuse(err)
		}
		h.pattern = p
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	switch {
	case r.started:
		err = errStarted(name)
	case fallback && r.handlers.fallback != nil:
		err = configError(name, nil, "is registered already", "register one fallback")
	case fallback:
		r.handlers.fallback = h
	default:
		if r.handlers.add(h) != nil {
			err = configError(name+" pattern", text, "is registered already", "register one handler for each pattern, and call what else is to be done from it")
		}
	}
	if err != nil {
		r.refused = append(r.refused, err)
		return err
	}
	r.all = append(r.all, h)
	return nil
}

// refuse keeps a registration's error for Run.
func (r *Router) refuse(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = append(r.refused, err)
	return err
}

func errStarted(name string) error {
	return configError(name, nil, "was called after Run had started", "register everything before Run")
}

func checkMiddleware(name string, mw []message.HandlerMiddleware) error {
	for i, m := range mw {
		if m == nil {
			return configError(name+" mw", i, "is a nil middleware at this index", "pass a function")
		}
	}
	return nil
}
