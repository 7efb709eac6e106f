// Package validation checks event bodies against JSON Schemas and functions.
// Its [Registry] is an events.Validator, for events.PublisherConfig on the way
// out and for the validation middleware on the way in.
package validation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/logistically/events"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// UnknownPolicy says what an event type means that nothing was added for.
type UnknownPolicy int

const (
	// Accept lets events of unknown types through. It is the zero value.
	Accept UnknownPolicy = iota
	// Reject refuses them.
	Reject
)

// Config configures [NewRegistry].
type Config struct {
	// Unknown says what becomes of events of a type that nothing was added for.
	// Zero means Accept: validation can be introduced type by type.
	Unknown UnknownPolicy
}

// Registry validates event bodies by what was added for their type: a JSON
// Schema, any number of functions, or both. It is safe for concurrent use;
// usually everything is added before the first event.
type Registry struct {
	cfg Config

	mu    sync.RWMutex
	types map[string]*checks
}

// checks is what was added for one type. It is replaced, never changed, so that
// validating needs the lock only to look it up.
type checks struct {
	schema   *jsonschema.Schema
	opposite *jsonschema.Schema // accepts what schema does not
	source   []byte
	funcs    []namedFunc
}

type namedFunc struct {
	name string
	fn   func(ctx context.Context, body []byte) error
}

var _ events.Validator = (*Registry)(nil)

// NewRegistry returns an empty Registry, or a *events.ConfigError.
func NewRegistry(cfg Config) (*Registry, error) {
	if cfg.Unknown < Accept || cfg.Unknown > Reject {
		return nil, &events.ConfigError{Field: "validation.Config.Unknown", Value: cfg.Unknown, Problem: "is no policy", Remedy: "use validation.Accept or validation.Reject"}
	}
	return &Registry{cfg: cfg, types: map[string]*checks{}}, nil
}

// AddFunc adds a check of an event type. Its error becomes a finding whose rule
// is name; an error that is an *events.ValidationError keeps its own findings, if
// it has any. An error that wraps ErrUnavailable means that the check could not be done.
func (r *Registry) AddFunc(eventType, name string, fn func(ctx context.Context, body []byte) error) error {
	if err := events.CheckType(eventType); err != nil {
		return err
	}
	if name == "" || fn == nil {
		return &events.ConfigError{Field: "validation.AddFunc " + eventType, Value: name, Problem: "has no name or no function", Remedy: "pass both: the name is the rule in findings"}
	}
	added := &checks{funcs: []namedFunc{{name, fn}}}
	return r.change(map[string]*checks{eventType: added}, func(_ string, now, with *checks) error {
		if slices.ContainsFunc(now.funcs, func(f namedFunc) bool { return f.name == name }) {
			return &events.ConfigError{Field: "validation.AddFunc " + eventType, Value: name, Problem: "is added already", Remedy: "give each function of a type its own name"}
		}
		now.funcs = append(slices.Clone(now.funcs), with.funcs...)
		return nil
	})
}

// AddTyped adds a check of an event type that gets the body decoded into T. A
// body that does not decode is a finding.
func AddTyped[T any](r *Registry, eventType, name string, fn func(ctx context.Context, body T) error) error {
	if fn == nil {
		return r.AddFunc(eventType, name, nil)
	}
	return r.AddFunc(eventType, name, func(ctx context.Context, data []byte) error {
		var body T
		if err := events.JSON.Unmarshal(data, &body); err != nil {
			return fmt.Errorf("does not decode into %T: %w", body, err)
		}
		return fn(ctx, body)
	})
}

// ErrUnavailable, wrapped by the error of a function that was added, says that
// the check could not be done: Validate returns that error as it is, and the
// event may be tried again.
var ErrUnavailable = errors.New("the check could not be done")

// change adds something to several types at once, or with an error to none.
// join adds to a copy of what there is of a type.
func (r *Registry) change(added map[string]*checks, join func(eventType string, now, with *checks) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := make(map[string]*checks, len(added))
	for _, eventType := range slices.Sorted(maps.Keys(added)) {
		c := &checks{}
		if now := r.types[eventType]; now != nil {
			*c = *now
		}
		if err := join(eventType, c, added[eventType]); err != nil {
			return err
		}
		next[eventType] = c
	}
	maps.Copy(r.types, next)
	return nil
}

// Schema implements events.Validator. Of a type that was added by AddDocument it
// returns a schema that refers into the whole document.
func (r *Registry) Schema(eventType string) ([]byte, bool) {
	c := r.lookup(eventType)
	if c == nil || c.source == nil {
		return nil, false
	}
	return slices.Clone(c.source), true
}

func (r *Registry) lookup(eventType string) *checks {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.types[eventType]
}

// Validate implements events.Validator: the schema and all functions are asked,
// and their findings reported, ordered by pointer and rule. If there are very
// many, the last finding says how many are not listed. A body of hundreds of
// thousands of values that breaks its schema gets one finding for that.
//
// The rule "json" stands before both, and they are not asked about a body that
// breaks it: the body is JSON; no object has a name twice, which readers would
// understand each in its own way; at most 256 arrays and objects are inside one
// another; numbers have at most 1000 characters and an exponent of at most 400.
func (r *Registry) Validate(ctx context.Context, eventType string, body []byte) error {
	c := r.lookup(eventType)
	if c == nil {
		if r.cfg.Unknown == Accept {
			return nil
		}
		return &events.ValidationError{Type: eventType, Findings: []events.Finding{{Rule: "type", Message: "no schema for this event type: add one, or set validation.Config.Unknown to Accept"}}}
	}
	doc, found := decode(body)
	if !found.empty() {
		return found.verdict(eventType)
	}
	if c.schema != nil {
		if err := c.ask(doc, &found); err != nil {
			return fmt.Errorf("validation: %s: %w", eventType, err)
		}
	}
	for _, f := range c.funcs {
		if err := f.run(ctx, body, &found); err != nil {
			return fmt.Errorf("validation: %s: %s: %w", eventType, f.name, err)
		}
	}
	return found.verdict(eventType)
}

// run asks one function and adds what it says; its panic is an error of the check.
func (f namedFunc) run(ctx context.Context, body []byte, found *report) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &events.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	said := f.fn(ctx, body)
	if said == nil {
		return nil
	}
	if errors.Is(said, ErrUnavailable) || ctx.Err() != nil {
		return said
	}
	if invalid, ok := errors.AsType[*events.ValidationError](said); ok && len(invalid.Findings) > 0 {
		found.addAll(invalid.Findings)
		return nil
	}
	found.add(nil, f.name, said.Error())
	return nil
}
