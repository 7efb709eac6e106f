package eventstest

import (
	"fmt"

	"github.com/google/go-cmp/cmp"
	"github.com/logistically/events"
)

// Match says what an event must be like: it returns "" for one that matches,
// and what is wrong with any other. [Body] and [Where] make the common ones.
type Match[T any] func(ev events.Event[T]) string

// Body matches events whose body equals want, as cmp.Equal compares. What is
// wrong with another is the difference, by cmp.Diff. A type with unexported
// fields needs one of cmp's options, such as cmpopts.IgnoreUnexported.
func Body[T any](want T, opts ...cmp.Option) Match[T] {
	return func(ev events.Event[T]) (wrong string) {
		defer func() {
			if v := recover(); v != nil { // cmp's way to refuse a type or an option.
				wrong = fmt.Sprintf("the body cannot be compared: %v", v)
			}
		}()
		if diff := cmp.Diff(want, ev.Body, opts...); diff != "" {
			return "body (-want +got):\n" + diff
		}
		return ""
	}
}

// Where matches events for which ok returns true. what says in words what is
// expected of them, for the failure.
func Where[T any](what string, ok func(ev events.Event[T]) bool) Match[T] {
	return func(ev events.Event[T]) string {
		if ok(ev) {
			return ""
		}
		return "not so: " + what
	}
}
