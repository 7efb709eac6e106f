// Package validation checks event bodies against JSON Schemas and functions.
// Its [Registry] is an events.Validator, for events.PublisherConfig on the way
// out and for the validation middleware on the way in.
package validation

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
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
	schema *jsonschema.Schema
	source []byte
	funcs  []namedFunc
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
// is name; an error that is an *events.ValidationError keeps its own findings. An
// error that wraps ErrUnavailable means that the check could not be done.
func (r *Registry) AddFunc(eventType, name string, fn func(ctx context.Context, body []byte) error) error {
	if err := events.CheckType(eventType); err != nil {
		return err
	}
	if name == "" || fn == nil {
		return &events.ConfigError{Field: "validation.AddFunc " + eventType, Value: name, Problem: "has no name or no function", Remedy: "pass both: the name is the rule in findings"}
	}
	return r.change(eventType, func(c *checks) error {
		if slices.ContainsFunc(c.funcs, func(f namedFunc) bool { return f.name == name }) {
			return &events.ConfigError{Field: "validation.AddFunc " + eventType, Value: name, Problem: "is added already", Remedy: "give each function of a type its own name"}
		}
		c.funcs = append(slices.Clone(c.funcs), namedFunc{name, fn})
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

func (r *Registry) change(eventType string, apply func(*checks) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := &checks{}
	if now := r.types[eventType]; now != nil {
		*next = *now
	}
	if err := apply(next); err != nil {
		return err
	}
	r.types[eventType] = next
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
// and all their findings reported, ordered by pointer and rule. A function is
// only asked about a body that is JSON.
func (r *Registry) Validate(ctx context.Context, eventType string, body []byte) error {
	c := r.lookup(eventType)
	if c == nil {
		if r.cfg.Unknown == Accept {
			return nil
		}
		return &events.ValidationError{Type: eventType, Findings: []events.Finding{{Rule: "type", Message: "no schema for this event type: add one, or set validation.Config.Unknown to Accept"}}}
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return &events.ValidationError{Type: eventType, Findings: []events.Finding{{Rule: "json", Message: err.Error()}}}
	}
	var findings []events.Finding
	if c.schema != nil {
		if findings, err = check(c.schema, value); err != nil {
			return fmt.Errorf("validation: %s: %w", eventType, err)
		}
	}
	for _, f := range c.funcs {
		found, err := f.run(ctx, body)
		if err != nil {
			return fmt.Errorf("validation: %s: %s: %w", eventType, f.name, err)
		}
		findings = append(findings, found...)
	}
	if len(findings) == 0 {
		return nil
	}
	slices.SortFunc(findings, func(a, b events.Finding) int {
		return cmp.Or(cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return &events.ValidationError{Type: eventType, Findings: slices.Compact(findings)}
}

// run asks one function; its panic is an error of the check.
func (f namedFunc) run(ctx context.Context, body []byte) (findings []events.Finding, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &events.PanicError{Value: v}
		}
	}()
	said := f.fn(ctx, body)
	if said == nil {
		return nil, nil
	}
	if errors.Is(said, ErrUnavailable) || ctx.Err() != nil {
		return nil, said
	}
	if invalid, ok := errors.AsType[*events.ValidationError](said); ok {
		return invalid.Findings, nil
	}
	return []events.Finding{{Rule: f.name, Message: said.Error()}}, nil
}
