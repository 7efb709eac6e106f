package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// fallbackName stands for the pattern of the fallback, in logs and failures.
const fallbackName = "(fallback)"

// handler is one registration.
type handler struct {
	pattern pattern
	fn      message.HandlerFunc
	mw      []message.HandlerMiddleware
	group   *Group
	route   transport.Route // its Publisher is nil unless registered by HandleAndPublish
	given   given           // for Describe

	chain   message.HandlerFunc // fn in its middleware; set when Run starts
	wrapped bool                // there is middleware
	counts  handlerCounters
}

// compile builds the chain: the router's middleware is outermost, then that of
// the groups from the outside in, then the handler's own.
func (h *handler) compile() error {
	layers := h.mw
	for g := h.group; g != nil; g = g.parent {
		layers = append(g.mw[:len(g.mw):len(g.mw)], layers...)
	}
	h.wrapped = len(layers) > 0
	h.chain = recovering(h.fn)
	for i, layer := range slices.Backward(layers) {
		var outer message.HandlerFunc
		err := protect(func() error { outer = layer(h.chain); return nil })
		if err == nil && outer == nil {
			err = errors.New("it returned a nil handler")
		}
		if err != nil {
			return fmt.Errorf("router: build middleware %d of %d, counted from the outside, around handler %q: %w", i+1, len(layers), h.pattern.text, err)
		}
		h.chain = recovering(outer)
	}
	return nil
}

// dispatcher finds the handler of an event type. Its cost depends on the
// number of segments, not on the number of handlers. It is not changed once
// Run has started, so that lanes read it without a lock.
type dispatcher struct {
	exact    map[string]*handler
	wild     node
	fallback *handler
}

// node is a branch of the tree of wildcard patterns, one level a segment.
type node struct {
	literal map[string]*node
	star    *node
	here    *handler // of the pattern that ends here
	rest    *handler // of the pattern that has ** next
}

// add registers h, or returns the handler that has its pattern already.
func (d *dispatcher) add(h *handler) (existing *handler) {
	if !h.pattern.wild {
		if have := d.exact[h.pattern.text]; have != nil {
			return have
		}
		d.exact[h.pattern.text] = h
		return nil
	}
	n, slot := &d.wild, (**handler)(nil)
	for _, s := range h.pattern.segments {
		if s == manySegments {
			slot = &n.rest
			break
		}
		n = n.child(s)
	}
	if slot == nil {
		slot = &n.here
	}
	if *slot != nil {
		return *slot
	}
	*slot = h
	return nil
}

func (n *node) child(segment string) *node {
	if segment == oneSegment {
		if n.star == nil {
			n.star = &node{}
		}
		return n.star
	}
	if n.literal == nil {
		n.literal = make(map[string]*node)
	}
	c := n.literal[segment]
	if c == nil {
		c = &node{}
		n.literal[segment] = c
	}
	return c
}

// find returns the handler of an event type, or nil. An exact registration
// comes first, then the most specific pattern, then the fallback.
func (d *dispatcher) find(eventType string) *handler {
	if h := d.exact[eventType]; h != nil {
		return h
	}
	if h := d.wild.find(eventType, true); h != nil {
		return h
	}
	return d.fallback
}

// find goes down the tree: at each segment a literal is more specific than *,
// and * than **. It never goes deeper than the longest pattern.
func (n *node) find(rest string, more bool) *handler {
	if !more {
		return n.here
	}
	segment, tail, more := strings.Cut(rest, ".")
	if segment != "" {
		if c := n.literal[segment]; c != nil {
			if h := c.find(tail, more); h != nil {
				return h
			}
		}
		if n.star != nil {
			if h := n.star.find(tail, more); h != nil {
				return h
			}
		}
	}
	if n.rest != nil && rest != "" {
		return n.rest
	}
	return nil
}

// typeOf returns by what a message is dispatched and routed: its event type,
// or its topic if it names none, as messages of plain Watermill publishers do.
func typeOf(msg *message.Message, topic string) string {
	if t := msg.Metadata[events.MetadataType]; t != "" {
		return t
	}
	return topic
}
