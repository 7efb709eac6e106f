package eventstest

import (
	"fmt"
	"slices"
	"strings"
)

// maxShown is how many events a failed assertion tells about.
const maxShown = 5

// Timeline returns what has happened to an event so far, a line each: how long
// after New it happened, in virtual time, and what. It is what failed
// assertions print.
func (k *Kit) Timeline(id string) string {
	k.journal.mu.Lock()
	defer k.journal.mu.Unlock()
	t := k.journal.byID[id]
	if t == nil {
		return fmt.Sprintf("no event %q was seen\n", id)
	}
	return k.timeline(t)
}

// timeline returns the lines of a trace. The caller holds the journal's lock.
func (k *Kit) timeline(t *trace) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", t.eventType, t.id)
	for _, s := range t.steps {
		fmt.Fprintf(&b, "\t%-10s %s\n", "+"+s.at.String(), s.text)
	}
	for _, topic := range t.topics {
		if !k.received(topic) {
			fmt.Fprintf(&b, "\tnobody receives from %q\n", topic)
		}
	}
	return b.String()
}

// received reports whether any group receives from a topic.
func (k *Kit) received(topic string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.ContainsFunc(k.routes, func(r route) bool { return r.topic == topic })
}

// describe tells of the events of a type: their timelines, or what there is
// instead. The caller holds the journal's lock.
func (k *Kit) describe(eventType string) string {
	var traces []*trace
	for _, t := range k.journal.traces {
		if t.eventType == eventType {
			traces = append(traces, t)
		}
	}
	if len(traces) == 0 {
		return fmt.Sprintf("no event of this type was seen; %s\n", k.seen())
	}
	return k.timelines(traces)
}

func (k *Kit) timelines(traces []*trace) string {
	var b strings.Builder
	for _, t := range traces[:min(len(traces), maxShown)] {
		b.WriteString(k.timeline(t))
	}
	if more := len(traces) - maxShown; more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return b.String()
}

// seen lists the types of all events. The caller holds the journal's lock.
func (k *Kit) seen() string {
	if len(k.journal.traces) == 0 {
		return "there were no events at all"
	}
	var types []string
	count := map[string]int{}
	for _, t := range k.journal.traces {
		if count[t.eventType]++; count[t.eventType] == 1 {
			types = append(types, t.eventType)
		}
	}
	slices.Sort(types)
	for i, name := range types {
		types[i] = fmt.Sprintf("%s (%d)", name, count[name])
	}
	return "there were: " + strings.Join(types, ", ")
}

// describePending tells of what is not settled.
func (k *Kit) describePending() string {
	routes := k.pending()
	k.journal.mu.Lock()
	defer k.journal.mu.Unlock()
	var b strings.Builder
	for i, r := range routes {
		if i > 0 {
			b.WriteString("and ")
		}
		n := k.broker.Unsettled(r.topic, r.group)
		fmt.Fprintf(&b, "%d of %q are not settled by group %q\n", n, r.topic, r.group)
		var traces []*trace
		for _, t := range k.journal.traces {
			if slices.Contains(t.topics, r.topic) && !t.settled[r] {
				traces = append(traces, t)
			}
		}
		b.WriteString(k.timelines(traces))
	}
	return b.String()
}
