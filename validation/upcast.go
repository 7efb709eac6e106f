package validation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/logistically/events"
)

// Step turns a body of one version into one of the next. It must not change
// the slice it is given, and be safe for concurrent use.
type Step func(ctx context.Context, body []byte) ([]byte, error)

// AddUpcast adds the step that turns bodies of a version of an event type into
// bodies of the version after it: from 1 to 2, say. The newest version of a type
// is the one that its last step leads to; schemas, functions and handlers are for
// that one. See [Registry.Upcast].
func (r *Registry) AddUpcast(eventType string, from int, step Step) error {
	if err := events.CheckType(eventType); err != nil {
		return err
	}
	field := "validation.AddUpcast " + eventType
	if from < 1 {
		return &events.ConfigError{Field: field, Value: from, Problem: "is no version", Remedy: "name the version that the step starts from, 1 or more"}
	}
	if step == nil {
		return &events.ConfigError{Field: field, Value: from, Problem: "has no step", Remedy: "pass a function"}
	}
	added := &checks{steps: map[int]Step{from: step}}
	return r.change(map[string]*checks{eventType: added}, func(_ string, now, with *checks) error {
		if now.steps[from] != nil {
			return &events.ConfigError{Field: field, Value: from, Problem: "has a step already", Remedy: "add one step for each version"}
		}
		steps := maps.Clone(with.steps)
		maps.Copy(steps, now.steps)
		now.steps = steps
		return nil
	})
}

// AddTypedUpcast is [Registry.AddUpcast] with bodies decoded from and encoded to JSON.
func AddTypedUpcast[Old, New any](r *Registry, eventType string, from int, step func(ctx context.Context, old Old) (New, error)) error {
	if step == nil {
		return r.AddUpcast(eventType, from, nil)
	}
	return r.AddUpcast(eventType, from, func(ctx context.Context, body []byte) ([]byte, error) {
		var old Old
		if err := events.JSON.Unmarshal(body, &old); err != nil {
			return nil, fmt.Errorf("decode into %T: %w", old, err)
		}
		next, err := step(ctx, old)
		if err != nil {
			return nil, err
		}
		return events.JSON.Marshal(next)
	})
}

// ErrNoStep says that a body cannot be brought to the newest version: a step is
// missing, or the body is of a version that is newer still.
var ErrNoStep = errors.New("no way to the newest version")

// Upcast implements events.Upcaster: it takes a body through all steps that its
// version needs, in order. The version is the first number of events.Header's
// Version ("2.1.0" and "v2" are 2; none is 1): versions that differ in what comes
// after it must be compatible. Bodies of a type without steps are returned as they are.
//
// An error is permanent, unless the step's own error is an events.RetryAfter or
// wraps [ErrUnavailable].
func (r *Registry) Upcast(ctx context.Context, eventType, version string, body []byte) (upcast []byte, newest string, err error) {
	c := r.lookup(eventType)
	if c == nil || len(c.steps) == 0 {
		return body, version, nil
	}
	at, err := major(version)
	if err != nil {
		return nil, "", events.Permanent(fmt.Errorf("validation: upcast %s: %w", eventType, err))
	}
	last := 0
	for from := range c.steps {
		last = max(last, from+1)
	}
	if at == last {
		return body, version, nil
	}
	if at > last {
		return nil, "", events.Permanent(fmt.Errorf("validation: upcast %s: %w: the body is of version %d, and this service knows versions up to %d: deploy the consumers before the publishers", eventType, ErrNoStep, at, last))
	}
	for ; at < last; at++ {
		step := c.steps[at]
		if step == nil {
			return nil, "", events.Permanent(fmt.Errorf("validation: upcast %s from version %s to %d: %w: there is no step from %d to %d: add it with AddUpcast", eventType, version, last, ErrNoStep, at, at+1))
		}
		if body, err = step.run(ctx, body); err != nil {
			err = fmt.Errorf("validation: upcast %s from version %d to %d: %w", eventType, at, at+1, err)
			if _, later := events.RetryDelay(err); later || events.IsDiscard(err) || errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
				return nil, "", err
			}
			return nil, "", events.Permanent(err)
		}
	}
	return body, strconv.Itoa(last) + ".0.0", nil
}

// run makes a panic of a step its error.
func (s Step) run(ctx context.Context, body []byte) (upcast []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &events.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return s(ctx, body)
}

// major is the first number of a version.
func major(version string) (int, error) {
	if version == "" {
		return 1, nil
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	n, err := strconv.Atoi(first)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no version: it should begin with a number, as 2.0.0 does", version)
	}
	return max(n, 1), nil
}
