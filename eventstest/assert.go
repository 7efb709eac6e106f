package eventstest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/logistically/events"
)

// AssertPublished fails the test unless an event of a type was published, by
// whomever, that all of match match. It returns the first such event. Dead
// letters do not count as published.
func AssertPublished[T any](k *Kit, eventType string, match ...Match[T]) events.Event[T] {
	k.t.Helper()
	found, wrong := search(k, eventType, match)
	if len(found) > 0 {
		return found[0]
	}
	k.journal.mu.Lock()
	defer k.journal.mu.Unlock()
	if len(wrong) == 0 {
		k.fail(fmt.Sprintf("no %q was published", eventType), k.describe(eventType))
	} else {
		k.fail(fmt.Sprintf("no published %q matches", eventType), k.objections(wrong))
	}
	return events.Event[T]{}
}

// Published returns the events of a type that were published, by whomever, in
// order, as far as all of match match them.
func Published[T any](k *Kit, eventType string, match ...Match[T]) []events.Event[T] {
	found, _ := search(k, eventType, match)
	return found
}

// AssertNotPublished fails the test if an event of a type was published.
func (k *Kit) AssertNotPublished(eventType string) {
	k.t.Helper()
	k.journal.mu.Lock()
	defer k.journal.mu.Unlock()
	if slices.ContainsFunc(k.journal.published, func(p publication) bool { return p.eventType == eventType }) {
		k.fail(fmt.Sprintf("a %q was published", eventType), k.describe(eventType))
	}
}

// AssertHandled fails the test unless an event of a type was handled: delivered
// to a group and acked by it, which also happens to one that is discarded.
func (k *Kit) AssertHandled(eventType string) {
	k.t.Helper()
	k.journal.mu.Lock()
	defer k.journal.mu.Unlock()
	if !slices.ContainsFunc(k.journal.traces, func(t *trace) bool { return t.eventType == eventType && t.handled > 0 }) {
		k.fail(fmt.Sprintf("no %q was handled", eventType), k.describe(eventType))
	}
}

// AssertDeadLettered fails the test unless an event of a type went to the dead
// letters, by a settlement or by a poison queue middleware, for a reason that
// contains the given text.
func (k *Kit) AssertDeadLettered(eventType, reason string) {
	k.t.Helper()
	k.journal.mu.Lock()
	defer k.journal.mu.Unlock()
	for _, t := range k.journal.traces {
		if t.eventType == eventType && slices.ContainsFunc(t.dead, func(why string) bool { return strings.Contains(why, reason) }) {
			return
		}
	}
	k.fail(fmt.Sprintf("no %q was dead-lettered because of %q", eventType, reason), k.describe(eventType))
}

// AssertNothingPending fails the test if an event is not settled by a group that
// receives from its topic: not delivered, still being handled, or waiting for a
// retry. After [Kit.Settle] nothing is.
func (k *Kit) AssertNothingPending() {
	k.t.Helper()
	if len(k.pending()) > 0 {
		k.t.Errorf("eventstest: %s", k.describePending())
	}
}

func (k *Kit) fail(what, details string) {
	k.t.Helper()
	k.t.Errorf("eventstest: %s\n%s", what, details)
}

// objection is an event that does not match, and why.
type objection struct {
	trace *trace
	why   []string
}

// search returns the published events of a type that match, and the others.
func search[T any](k *Kit, eventType string, match []Match[T]) (found []events.Event[T], wrong []objection) {
	k.journal.mu.Lock()
	published := slices.Clone(k.journal.published)
	k.journal.mu.Unlock() // match may be anything, and ask the kit.
	for _, p := range published {
		if p.eventType != eventType {
			continue
		}
		o := objection{trace: p.trace}
		ev, err := events.Decode[T](p.msg, k.cfg.Publisher.Codec)
		if err != nil {
			o.why = append(o.why, err.Error())
		} else {
			for _, m := range match {
				if why := m(ev); why != "" {
					o.why = append(o.why, why)
				}
			}
		}
		if len(o.why) > 0 {
			wrong = append(wrong, o)
		} else {
			found = append(found, ev)
		}
	}
	return found, wrong
}

// objections shows why events do not match, and their timelines. The caller
// holds the journal's lock.
func (k *Kit) objections(wrong []objection) string {
	var b strings.Builder
	for _, o := range wrong[:min(len(wrong), maxShown)] {
		for _, why := range o.why {
			b.WriteString(strings.TrimRight(why, "\n") + "\n")
		}
		b.WriteString(k.timeline(o.trace))
	}
	if more := len(wrong) - maxShown; more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return b.String()
}
