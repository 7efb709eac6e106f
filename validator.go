package events

import (
	"context"
	"fmt"
	"strings"
)

// Validator checks event bodies. Package validation has implementations; any
// other will do. Implementations must be safe for concurrent use.
type Validator interface {
	// Validate checks the encoded body of an event. It returns nil when the
	// body is acceptable, and a *ValidationError when it is not. Any other
	// error means that the check itself failed and may be tried again.
	Validate(ctx context.Context, eventType string, body []byte) error
	// Schema returns the JSON Schema of an event type as JSON, or false if
	// there is none.
	Schema(eventType string) ([]byte, bool)
}

// ValidationMode says what becomes of an event that breaks its schema.
type ValidationMode int

const (
	// Strict refuses the event. It is the zero value.
	Strict ValidationMode = iota
	// Warn logs the findings and lets the event through.
	Warn
	// Ignore does not validate.
	Ignore
)

func (m ValidationMode) String() string {
	switch m {
	case Strict:
		return "strict"
	case Warn:
		return "warn"
	case Ignore:
		return "ignore"
	}
	return fmt.Sprintf("ValidationMode(%d)", int(m))
}

// ValidationError says how a body breaks its schema.
type ValidationError struct {
	Type     string // the event type
	Findings []Finding
}

// Finding is one thing that is wrong with a body.
type Finding struct {
	Pointer string // where: a JSON Pointer (RFC 6901) into the body, "" for the whole
	Rule    string // which rule: the JSON Schema keyword, or a custom validator's name
	Message string // what, for people
	// Value is the offending value as JSON, shortened; {…} for an object, […] for
	// an array, [redacted] where the schema says that it is sensitive, and ""
	// where none is known. Error shows it, unless the message does.
	Value string
}

func (e *ValidationError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "event %q is not valid", e.Type)
	for i, f := range e.Findings {
		if i == 5 {
			fmt.Fprintf(&b, "; and %d more", len(e.Findings)-i)
			break
		}
		sep := ": "
		if i > 0 {
			sep = "; "
		}
		at := f.Pointer
		if at == "" {
			at = "body"
		}
		fmt.Fprintf(&b, "%sat %s: %s (%s)", sep, at, f.Message, f.Rule)
		if v := f.Value; v != "" && !f.shown() {
			b.WriteString(", value " + v)
		}
	}
	return b.String()
}

// shown reports whether the value says no more than the message does.
func (f Finding) shown() bool {
	switch f.Value {
	case "{…}", "[…]", "[redacted]", `""`:
		return true
	}
	if text, ok := strings.CutPrefix(f.Value, `"`); ok {
		return strings.Contains(f.Message, "'"+strings.TrimSuffix(text, `"`)+"'")
	}
	return strings.Contains(f.Message, "got "+f.Value)
}

// Upcaster turns bodies of old versions into bodies of the version that a
// service was built for. Package validation's Registry is one. Implementations
// must be safe for concurrent use.
type Upcaster interface {
	// Upcast returns the body in its newest version, and that version; body and
	// version themselves if there is nothing to do. It must not change the
	// slice it is given. An error that no retry will mend is [Permanent].
	Upcast(ctx context.Context, eventType, version string, body []byte) (upcast []byte, newest string, err error)
}
