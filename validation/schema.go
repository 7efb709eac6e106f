package validation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"runtime/debug"
	"slices"

	"github.com/logistically/events"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// AddSchema adds the JSON Schema of an event type: a document of its own, draft
// 4 to 2020-12 (2020-12 if it does not say). Formats are asserted. A $ref may
// point within the document only; nothing is loaded from files or the network.
// The error is a *events.ConfigError.
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
	return r.addDocument(eventType, schema, map[string]string{eventType: "#"}, func(string) []byte {
		return bytes.Clone(schema)
	})
}

// AddDocument adds one JSON Schema document that describes many event types:
// types maps an event type to the JSON pointer fragment of its schema in it, such as
// "#/definitions/order". name is for error messages. It adds all of them or,
// with an error, none. See [Registry.AddSchema].
func (r *Registry) AddDocument(name string, document []byte, types map[string]string) error {
	return r.addDocument(name, document, types, func(pointer string) []byte {
		// The document with one thing more: which of its schemas is meant.
		var whole map[string]json.RawMessage
		if json.Unmarshal(document, &whole) != nil {
			return nil // not an object; compiling has said so before
		}
		ref, err := json.Marshal(pointer)
		if err != nil {
			return nil
		}
		selected, err := json.Marshal(map[string]json.RawMessage{"$ref": ref})
		if err != nil {
			return nil
		}
		whole["allOf"] = json.RawMessage("[" + string(selected) + "]")
		for _, keyword := range []string{"oneOf", "anyOf", "$ref"} {
			delete(whole, keyword)
		}
		out, err := json.Marshal(whole)
		if err != nil {
			return nil
		}
		return out
	})
}

// addDocument adds all types or, if anything is wrong with one of them, none.
func (r *Registry) addDocument(name string, document []byte, types map[string]string, source func(pointer string) []byte) error {
	refuse := func(eventType string, err error) error {
		return &events.ConfigError{
			Field: "validation schema for " + eventType, Value: name, Problem: "does not compile: " + err.Error(),
			Remedy: "mend the schema; references may only point within the document",
		}
	}
	// Escaped, for a name may hold what means something in a URL, as # and % do.
	location := "events:///" + url.PathEscape(name)
	compiler, err := newCompiler(location, document)
	if err != nil {
		return refuse("all types", err)
	}
	added := make(map[string]*checks, len(types))
	for _, eventType := range slices.Sorted(maps.Keys(types)) {
		if err := events.CheckType(eventType); err != nil {
			return err
		}
		pointer := types[eventType]
		c, err := compile(compiler, location, pointer)
		if err != nil {
			return refuse(eventType, err)
		}
		c.source = source(pointer)
		added[eventType] = c
	}
	return r.change(added, func(eventType string, now, with *checks) error {
		if now.schema != nil {
			return &events.ConfigError{Field: "validation schema for " + eventType, Value: name, Problem: "is added already", Remedy: "add one schema for each type"}
		}
		now.schema, now.opposite, now.source = with.schema, with.opposite, with.source
		return nil
	})
}

func newCompiler(location string, text []byte) (*jsonschema.Compiler, error) {
	doc, faults := decode(text)
	if !faults.empty() {
		first := faults.findings[0]
		if first.Pointer == "" {
			return nil, fmt.Errorf("not JSON: %s", first.Message)
		}
		return nil, fmt.Errorf("at %s: %s", first.Pointer, first.Message)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	compiler.AssertFormat()
	compiler.RegisterFormat(&jsonschema.Format{Name: "uri-template", Validate: checkURITemplate})
	return compiler, compiler.AddResource(location, doc.value)
}

// compile compiles the schema at a pointer into the document at location.
func compile(compiler *jsonschema.Compiler, location, pointer string) (c *checks, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &events.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	c = &checks{}
	if c.schema, err = compiler.Compile(location + pointer); err != nil {
		return nil, err
	}
	opposite := "events:opposite?" + url.QueryEscape(pointer)
	err = compiler.AddResource(opposite, map[string]any{"not": map[string]any{"$ref": location + pointer}})
	if _, ok := errors.AsType[*jsonschema.ResourceExistsError](err); err != nil && !ok { // Two types may share a pointer.
		return nil, err
	}
	c.opposite, err = compiler.Compile(opposite)
	return c, err
}

// noLoader refuses every reference that leaves the document.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside of the document, and nothing is loaded from files or the network", url)
}

// ask adds how doc breaks the schema. A panic of the schema library is an
// error: the check could not be done.
func (c *checks) ask(doc document, found *report) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &events.PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	if doc.heavy {
		// Under "not" the library only wants to know whether, not why.
		if c.opposite.Validate(doc.value) == nil {
			found.add(nil, "schema", "the body breaks its schema, and has too many values to say where")
		}
		return nil
	}
	said := c.schema.Validate(doc.value)
	if said == nil {
		return nil
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](said)
	if !ok {
		return said
	}
	found.addLeaves(invalid)
	return nil
}
