// Package validation checks event bodies against JSON Schemas, Go types and
// functions. Its [Registry] is an events.Validator, for events.PublisherConfig on
// the way out and for the validation middleware on the way in, and an
// events.Upcaster, for the upcast middleware. [Compatible] compares two versions
// of a schema, and [Registry.AsyncAPI] describes a service by its schemas.
package validation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/logistically/events"
)

// UnknownPolicy says what an event type means that nothing was added for.
type UnknownPolicy int

const (
	// Accept lets events of unknown types through. It is the zero value.
	Accept UnknownPolicy = iota
	// Reject refuses them.
	Reject
)

// DefaultMaxBytes is the limit of a registry that sets none, 16 MiB.
const DefaultMaxBytes = 16 << 20

// Config configures [NewRegistry].
type Config struct {
	// Unknown says what becomes of events of a type that nothing was added for.
	// Zero means Accept: validation can be introduced type by type.
	Unknown UnknownPolicy
	// MaxBytes is the size of the largest body that is looked at; a larger one of
	// a known type is a finding of the rule "json". Its values take up to
	// some thirty times as much memory. Zero means DefaultMaxBytes, 16 MiB.
	MaxBytes int
	// Load returns the schema document that a $ref to another document names, by
	// its absolute URL. It is called while schemas are added, never for events.
	// Nil means that such a $ref is refused: nothing is loaded from files or the
	// network.
	Load func(url string) ([]byte, error)
}

// Registry validates event bodies by what was added for their type: a JSON
// Schema, a Go type, any number of functions, or several of those. It is safe for
// concurrent use; usually everything is added before the first event. Validating
// takes no lock.
type Registry struct {
	cfg Config

	mu    sync.Mutex // held while something is added
	types atomic.Pointer[map[string]*checks]
}

// checks is what was added for one type. Like the map that it is in, it is
// replaced, never changed.
type checks struct {
	schemas []*schema // at most one of each source
	funcs   []namedFunc
	steps   map[int]Step // by the version that they start from
}

type namedFunc struct {
	name string
	fn   func(ctx context.Context, body []byte) error
}

var (
	_ events.ParsingValidator = (*Registry)(nil)
	_ events.Upcaster         = (*Registry)(nil)
)

// NewRegistry returns an empty Registry, or a *events.ConfigError.
func NewRegistry(cfg Config) (*Registry, error) {
	if cfg.Unknown < Accept || cfg.Unknown > Reject {
		return nil, &events.ConfigError{Field: "validation.Config.Unknown", Value: cfg.Unknown, Problem: "is no policy", Remedy: "use validation.Accept or validation.Reject"}
	}
	if cfg.MaxBytes < 0 {
		return nil, &events.ConfigError{Field: "validation.Config.MaxBytes", Value: cfg.MaxBytes, Problem: "is negative", Remedy: "set it to a number of bytes, or to 0 for 16 MiB"}
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	r := &Registry{cfg: cfg}
	r.types.Store(&map[string]*checks{})
	return r, nil
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
	next := maps.Clone(*r.types.Load())
	for _, eventType := range slices.Sorted(maps.Keys(added)) {
		c := &checks{}
		if now := next[eventType]; now != nil {
			*c = *now
		}
		if err := join(eventType, c, added[eventType]); err != nil {
			return err
		}
		next[eventType] = c
	}
	r.types.Store(&next)
	return nil
}

// Schema implements events.Validator. Of a type that was added by AddDocument it
// returns a schema that refers into the whole document; of one that has a JSON
// Schema and a Go type, the former.
func (r *Registry) Schema(eventType string) ([]byte, bool) {
	c := r.lookup(eventType)
	if c == nil || len(c.schemas) == 0 {
		return nil, false
	}
	return slices.Clone(c.schemas[0].source()), true
}

// Types returns the event types that something was added for, sorted.
func (r *Registry) Types() []string { return slices.Sorted(maps.Keys(*r.types.Load())) }

func (r *Registry) lookup(eventType string) *checks { return (*r.types.Load())[eventType] }

// Validate implements events.Validator: the schema and all functions are asked,
// and their findings reported, ordered by pointer and rule. If there are very
// many, the last finding says how many are not listed. A body of hundreds of
// thousands of values that breaks its schema gets one finding for that.
//
// The rule "json" stands before both, and they are not asked about a body that
// breaks it: the body is JSON in UTF-8, of at most Config.MaxBytes; no object has
// a name twice, which readers would understand each in its own way; at most 256
// arrays and objects are inside one another; numbers have at most 1000 characters
// and an exponent of at most 400.
func (r *Registry) Validate(ctx context.Context, eventType string, body []byte) error {
	_, _, err := r.Parse(ctx, eventType, body)
	return err
}

// Parse implements events.ParsingValidator: it is [Registry.Validate], and
// returns the body's value, which is not parsed where nothing was added for the type.
func (r *Registry) Parse(ctx context.Context, eventType string, body []byte) (value any, parsed bool, err error) {
	c := r.lookup(eventType)
	if c == nil || len(c.schemas)+len(c.funcs) == 0 {
		if r.cfg.Unknown == Accept {
			return nil, false, nil
		}
		return nil, false, &events.ValidationError{Type: eventType, Findings: []events.Finding{{Rule: "type", Message: "no schema for this event type: add one, or set validation.Config.Unknown to Accept"}}}
	}
	if len(body) > r.cfg.MaxBytes {
		var found report
		found.add("", ruleJSON, fmt.Sprintf("%d bytes, at most %d: see validation.Config.MaxBytes", len(body), r.cfg.MaxBytes))
		return nil, false, found.verdict(eventType)
	}
	doc, found := decode(body)
	if !found.empty() {
		return nil, false, found.verdict(eventType)
	}
	for _, s := range c.schemas {
		if err := s.ask(doc, &found); err != nil {
			return nil, false, fmt.Errorf("validation: %s: %w", eventType, err)
		}
	}
	for _, f := range c.funcs {
		if err := f.run(ctx, body, &found); err != nil {
			return nil, false, fmt.Errorf("validation: %s: %s: %w", eventType, f.name, err)
		}
	}
	if !found.empty() {
		return nil, false, found.verdict(eventType)
	}
	return doc.value, true, nil
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
	found.add("", f.name, said.Error())
	return nil
}
