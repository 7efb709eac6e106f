package router

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Description says what a router is made of, for people (String) and programs
// (JSON). Make it with [Router.Describe].
type Description struct {
	Topics       []string `json:"topics"`
	Subscriber   string   `json:"subscriber"`    // its type
	DrainTimeout string   `json:"drain_timeout"` // as time.Duration prints it
	Unknown      string   `json:"unknown"`       // "dead-letter", "ack" or "fallback"
	// Weights are those of Config that are not 1.
	Weights map[string]int `json:"weights,omitempty"`
	// Lanes are those of the router; the first one is of the handlers in no lane
	// of their own.
	Lanes []LaneDescription `json:"lanes"`
	// Handlers are in order of registration.
	Handlers []HandlerDescription `json:"handlers"`
	// Findings are what [Router.Findings] returns.
	Findings []Finding `json:"findings,omitempty"`
}

// LaneDescription says how a lane is set.
type LaneDescription struct {
	Name           string `json:"name"` // "" for that of the handlers in no lane of their own
	Concurrency    int    `json:"concurrency"`
	Prefetch       int    `json:"prefetch"`
	Ordered        bool   `json:"ordered"` // by key
	HandlerTimeout string `json:"handler_timeout,omitempty"`
	// KillSwitch is the failure ratio that pauses the lane; 0 for none.
	KillSwitch float64 `json:"kill_switch,omitempty"`
}

// HandlerDescription says what a handler is made of. Functions are named by
// what the Go linker calls them, shortened: "middleware.Retry" for what
// middleware.Retry has returned, "main.(*Service).userCreated" for a method,
// "main.run.func2" for a function literal. That is as good as it gets: where the
// compiler has inlined a constructor, the name is that of its caller.
type HandlerDescription struct {
	Pattern string `json:"pattern"`        // "(fallback)" for the fallback
	Body    string `json:"body,omitempty"` // the T of Handle; empty for a Watermill handler
	Func    string `json:"func"`
	Lane    string `json:"lane,omitempty"` // the lane's name
	// Middleware is what runs around it, outermost first: the router's, that of
	// its groups, its own.
	Middleware []string `json:"middleware,omitempty"`
	// PublishesTo is the topic of HandleAndPublish.
	PublishesTo string `json:"publishes_to,omitempty"`
}

// Describe returns what the router is made of at this moment.
func (r *Router) Describe() Description {
	r.mu.Lock()
	defer r.mu.Unlock()
	d := Description{
		Topics:       slices.Clone(r.cfg.Topics),
		Subscriber:   fmt.Sprintf("%T", r.cfg.Subscriber),
		Weights:      maps.Clone(r.cfg.Weights),
		DrainTimeout: r.cfg.DrainTimeout.String(),
		Unknown:      "dead-letter",
		Findings:     r.findings(),
	}
	switch {
	case r.handlers.fallback != nil:
		d.Unknown = "fallback"
	case r.cfg.Unknown == AckUnknown:
		d.Unknown = "ack"
	}
	for _, l := range r.lanes {
		about := LaneDescription{Name: l.Name, Concurrency: l.Concurrency, Prefetch: l.Prefetch, Ordered: l.OrderBy != nil, KillSwitch: l.KillSwitch.FailureRatio}
		if l.HandlerTimeout > 0 {
			about.HandlerTimeout = l.HandlerTimeout.String()
		}
		d.Lanes = append(d.Lanes, about)
	}
	for _, h := range r.all {
		about := HandlerDescription{Pattern: h.pattern.text, Lane: h.group.lane.Name, Func: shortName(h.given.fn), PublishesTo: h.route.Topic}
		if h.given.body != nil {
			about.Body = h.given.body.String()
		}
		for _, mw := range h.layers() {
			about.Middleware = append(about.Middleware, shortName(mw))
		}
		d.Handlers = append(d.Handlers, about)
	}
	return d
}

// String returns the description as text of several lines.
func (d Description) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "router on %s by %s\n", strings.Join(d.Topics, ", "), d.Subscriber)
	fmt.Fprintf(&b, "  drained within %s; events without a handler: %s\n", d.DrainTimeout, d.Unknown)
	for _, topic := range slices.Sorted(maps.Keys(d.Weights)) {
		fmt.Fprintf(&b, "  %s has weight %d\n", topic, d.Weights[topic])
	}
	for _, l := range d.Lanes {
		b.WriteString("  " + l.String() + "\n")
	}
	for _, h := range d.Handlers {
		fmt.Fprintf(&b, "%s -> %s", h.Pattern, h.Func)
		if h.Body != "" {
			fmt.Fprintf(&b, " of %s", h.Body)
		}
		if h.Lane != "" {
			fmt.Fprintf(&b, ", in lane %q", h.Lane)
		}
		if h.PublishesTo != "" {
			fmt.Fprintf(&b, ", publishes to %s", h.PublishesTo)
		}
		b.WriteString("\n")
		for i, mw := range h.Middleware {
			fmt.Fprintf(&b, "  %d %s\n", i+1, mw)
		}
	}
	for _, f := range d.Findings {
		fmt.Fprintf(&b, "%s\n", f)
	}
	return b.String()
}

// String returns the description as a line of text.
func (l LaneDescription) String() string {
	text := fmt.Sprintf("lane %q: %d handlers at a time, %d deliveries held ready", l.Name, l.Concurrency, l.Prefetch)
	if l.Ordered {
		text += ", in order by key"
	}
	if l.HandlerTimeout != "" {
		text += ", handlers have " + l.HandlerTimeout
	}
	if l.KillSwitch > 0 {
		text += fmt.Sprintf(", paused when %g of them fail", l.KillSwitch)
	}
	return text
}

// given is a handler as the user gave it, before it was wrapped.
type given struct {
	fn   any          // a function
	body reflect.Type // nil unless it is typed
}

// describeAs replaces what was given for the handler of a pattern by what that
// was made of, unless it is refused.
func (r *Router) describeAs(pattern string, by given, refused error) error {
	if refused != nil {
		return refused
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range slices.Backward(r.all) { // It is the last one, or nearly.
		if h.pattern.text == pattern {
			h.given = by
			break
		}
	}
	return nil
}

// layers returns the middleware around the handler, outermost first.
func (h *handler) layers() []message.HandlerMiddleware {
	layers := h.mw
	for g := h.group; g != nil; g = g.parent {
		layers = append(g.mw[:len(g.mw):len(g.mw)], layers...)
	}
	return layers
}

// symbol returns what the linker calls a function, with the path of its package.
func symbol(fn any) string {
	v := reflect.ValueOf(fn)
	if v.Kind() != reflect.Func || v.IsNil() {
		return ""
	}
	f := runtime.FuncForPC(v.Pointer())
	if f == nil {
		return ""
	}
	return f.Name()
}

// A literal inside of F is called F.func1, or F.func1.2 inside of another one;
// a method value M-fm.
var literal = regexp.MustCompile(`(\.func\d+(\.\d+)*|-fm)$`)

// maker returns the symbol of the function that has returned fn, where fn is a
// literal of it.
func maker(fn any) string { return literal.ReplaceAllString(symbol(fn), "") }

// shortName names a function for people.
func shortName(fn any) string {
	name := symbol(fn)
	if name == "" {
		return "unknown"
	}
	if _, ok := fn.(message.HandlerMiddleware); ok {
		name = maker(fn) // A middleware that a constructor has made is called by it.
	}
	name = strings.TrimSuffix(name, "-fm")
	return name[strings.LastIndex(name, "/")+1:]
}
