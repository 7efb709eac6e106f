package validation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/logistically/events"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// AddSchema adds the JSON Schema of an event type: a document of its own, draft
// 4 to 2020-12 (2020-12 if it does not say). Formats are asserted. A $ref may
// point within the document only; nothing is loaded from files or the network
// unless Config.Load is set. The error is a *events.ConfigError.
//
// Findings quote values. Where a schema says "x-sensitive": true they do not, nor
// for anything inside; what functions say about a body is their own business.
//
// A pattern is one of Go's regular expressions, whose time is linear in the text:
// ECMA's \uXXXX is understood, lookaround and backreferences are refused.
//
// A schema knows names exactly as they are spelled, but encoding/json takes
// "AMOUNT", too, for a field named amount. So a name that the schema says nothing
// about can set a field that it limits. The registry cannot refuse such names:
// maps may have keys that differ in case only. Where publishers are not trusted,
// say "additionalProperties": false, or check with [AddTyped], whose function
// gets what a handler of the same type will get.
//
// Schemas are trusted with time: where two branches of a oneOf both lead back to
// the schema they are in, each level of a body doubles the work.
func (r *Registry) AddSchema(eventType string, schema []byte) error {
	return r.AddDocument(eventType, schema, map[string]string{eventType: "#"})
}

// AddDocument adds one JSON Schema document that describes many event types:
// types maps an event type to the JSON pointer fragment of its schema in it, such as
// "#/definitions/order". name is for error messages. It adds all of them or,
// with an error, none. See [Registry.AddSchema].
func (r *Registry) AddDocument(name string, document []byte, types map[string]string) error {
	// Escaped, for a name may hold what means something in a URL, as # and % do.
	location := "events:///" + url.PathEscape(name)
	set := schemaSet{registry: r}
	if err := set.document(name, location, document); err != nil {
		return err
	}
	for _, eventType := range slices.Sorted(maps.Keys(types)) {
		if err := set.add(eventType, name, location, types[eventType]); err != nil {
			return err
		}
	}
	return set.commit()
}

// schemaSet is what one call adds: all of it or nothing.
type schemaSet struct {
	registry *Registry
	compiler *jsonschema.Compiler
	texts    documents
	secrets  secrets
	added    map[string]*checks
	inferred bool // of Go types

	preparation preparation
}

// document makes a text known to the schemas of the set.
func (set *schemaSet) document(name, location string, text []byte) error {
	doc, faults := decode(text)
	if !faults.empty() {
		first := faults.findings[0]
		err := errors.New(first.Message)
		if first.Pointer != "" {
			err = fmt.Errorf("at %s: %s", first.Pointer, first.Message)
		}
		return schemaError("all types", name, err)
	}
	if set.compiler == nil {
		set.compiler = jsonschema.NewCompiler()
		set.secrets = secrets{}
		set.compiler.UseLoader(loader{set.registry.cfg.Load, set.secrets})
		set.compiler.AssertFormat()
		set.compiler.UseRegexpEngine(compileRegexp)
		set.compiler.RegisterFormat(&jsonschema.Format{Name: "uri-template", Validate: checkURITemplate})
		set.texts, set.added, set.preparation = documents{}, map[string]*checks{}, preparation{}
		if err := set.compiler.AddResource(locationOfNot, map[string]any{"not": false}); err != nil {
			return schemaError("all types", name, err)
		}
	}
	if err := set.compiler.AddResource(location, doc.value); err != nil {
		return schemaError("all types", name, err)
	}
	set.texts[location] = &schemaText{name, bytes.Clone(text)}
	set.secrets.find(location, doc.value, nil)
	return nil
}

// add compiles the schema of an event type: what pointer leads to in the
// document at location.
func (set *schemaSet) add(eventType, name, location, pointer string) error {
	if err := events.CheckType(eventType); err != nil {
		return err
	}
	compiled, opposite, err := set.compile(location, pointer)
	if err != nil {
		return schemaError(eventType, name, err)
	}
	set.added[eventType] = &checks{schemas: []*schema{{
		compiled: compiled, opposite: opposite, secrets: set.secrets,
		texts: set.texts, location: location, pointer: pointer, inferred: set.inferred,
	}}}
	return nil
}

// commit adds what is in the set to its registry.
func (set *schemaSet) commit() error {
	return set.registry.change(set.added, func(eventType string, now, with *checks) error {
		for _, s := range now.schemas {
			if s.inferred == set.inferred {
				return &events.ConfigError{Field: "validation schema for " + eventType, Value: with.schemas[0].text().name, Problem: "is added already", Remedy: "add one schema for each type"}
			}
		}
		now.schemas = append(slices.Clone(now.schemas), with.schemas...)
		slices.SortStableFunc(now.schemas, func(a, b *schema) int { // Documents come first.
			if a.inferred == b.inferred {
				return 0
			}
			if b.inferred {
				return -1
			}
			return 1
		})
		return nil
	})
}

func schemaError(eventType, name string, err error) error {
	return &events.ConfigError{
		Field: "validation schema for " + eventType, Value: name, Problem: "does not compile: " + err.Error(),
		Remedy: "mend the schema; references may only point within the document, unless validation.Config.Load is set",
	}
}

// schema is one schema of an event type.
type schema struct {
	compiled *jsonschema.Schema
	opposite *jsonschema.Schema // accepts what compiled does not
	secrets  secrets
	texts    documents
	location string // of the document that it is in
	pointer  string // into that, "#" for the whole
	inferred bool   // from a Go type
}

// documents are schema documents that were added together, by location.
type documents map[string]*schemaText

type schemaText struct {
	name string
	text []byte
}

func (s *schema) text() *schemaText { return s.texts[s.location] }

// source is the schema as a document of its own: the one that it is in, with one
// thing more: which of its schemas is meant.
func (s *schema) source() []byte {
	if s.pointer == "#" {
		return s.text().text
	}
	var whole map[string]json.RawMessage
	if json.Unmarshal(s.text().text, &whole) != nil {
		return nil // cannot be: there is something inside
	}
	for _, keyword := range []string{"oneOf", "anyOf", "$ref"} {
		delete(whole, keyword)
	}
	out, err := json.Marshal(s.pointer)
	if err != nil {
		return nil // cannot be: a string
	}
	whole["allOf"] = json.RawMessage(`[{"$ref":` + string(out) + `}]`)
	if out, err = json.Marshal(whole); err != nil {
		return nil // cannot be: it was JSON
	}
	return out
}

// compile compiles the schema at a pointer into the document at location, and
// the opposite of it.
func (set *schemaSet) compile(location, pointer string) (compiled, opposite *jsonschema.Schema, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &events.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	if compiled, err = set.compiler.Compile(location + pointer); err != nil {
		return nil, nil, err
	}
	if err := set.preparation.prepare(compiled); err != nil {
		return nil, nil, err
	}
	not, err := set.compiler.Compile(locationOfNot)
	if err != nil {
		return nil, nil, err
	}
	other := *not // Compiling one for each would take longer than all the rest.
	other.Not = compiled
	return compiled, &other, nil
}

// locationOfNot is that of a schema that is "not" another.
const locationOfNot = "events:not"

// loader loads what is outside of the documents of a set, if it may.
type loader struct {
	load    func(url string) ([]byte, error)
	secrets secrets
}

func (l loader) Load(url string) (any, error) {
	if l.load == nil {
		return nil, fmt.Errorf("%s is outside of the document, and nothing is loaded from files or the network", url)
	}
	text, err := l.load(url)
	if err != nil {
		return nil, err
	}
	doc, faults := decode(text)
	if !faults.empty() {
		return nil, errors.New(faults.findings[0].Message)
	}
	l.secrets.find(url, doc.value, nil)
	return doc.value, nil
}

// compileRegexp compiles the ECMA 262 dialect of JSON Schema as far as Go's
// regular expressions go: their time is linear, so there is no lookaround.
func compileRegexp(pattern string) (jsonschema.Regexp, error) {
	re, err := regexp.Compile(ecmaEscape.ReplaceAllStringFunc(pattern, func(escape string) string {
		if escape == `\\` {
			return escape
		}
		return `\x{` + strings.Trim(escape[2:], "{}") + `}`
	}))
	if err != nil {
		return nil, fmt.Errorf("%w (patterns are Go's regular expressions: no lookahead, lookbehind or backreferences, at most 1000 repetitions)", err)
	}
	return re, nil
}

// ecmaEscape is \uXXXX or \u{X}, which Go writes as \x{X}; or an escaped
// backslash, after which a u is just that.
var ecmaEscape = regexp.MustCompile(`\\(?:\\|u[0-9a-fA-F]{4}|u\{[0-9a-fA-F]{1,6}\})`)

// ask adds how doc breaks the schema. A panic of the schema library is an
// error: the check could not be done.
func (s *schema) ask(doc document, found *report) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &events.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	if doc.heavy {
		// Under "not" the library only wants to know whether, not why.
		if s.opposite.Validate(doc.value) == nil {
			found.add("", "schema", "the body breaks its schema, and has too many values to say where")
		}
		return nil
	}
	said := s.compiled.Validate(doc.value)
	if said == nil {
		return nil
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](said)
	if !ok {
		return said
	}
	found.addLeaves(invalid, doc.value, s)
	return nil
}
