package validation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/logistically/events"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// AddSchema adds the JSON Schema of an event type: a document of its own, draft
// 4 to 2020-12 (2020-12 if it does not say). Formats are asserted. A $ref may
// point within the document only; nothing is loaded from files or the network.
// The error is a *events.ConfigError.
func (r *Registry) AddSchema(eventType string, schema []byte) error {
	return r.addDocument("events:///"+eventType, schema, map[string]string{eventType: "#"}, func(string) []byte {
		return bytes.Clone(schema)
	})
}

// AddDocument adds one JSON Schema document that describes many event types:
// types maps an event type to the JSON pointer fragment of its schema in it, such as
// "#/definitions/order". name is for error messages. See [Registry.AddSchema].
func (r *Registry) AddDocument(name string, document []byte, types map[string]string) error {
	return r.addDocument("events:///"+name, document, types, func(pointer string) []byte {
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

func (r *Registry) addDocument(url string, document []byte, types map[string]string, source func(pointer string) []byte) error {
	refuse := func(eventType string, err error) error {
		return &events.ConfigError{
			Field: "validation schema for " + eventType, Value: strings.TrimPrefix(url, "events:///"), Problem: "does not compile: " + err.Error(),
			Remedy: "mend the schema; references may only point within the document",
		}
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return refuse("all types", fmt.Errorf("not JSON: %w", err))
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(noLoader{})
	compiler.AssertFormat()
	compiler.RegisterFormat(&jsonschema.Format{Name: "uri-template", Validate: checkURITemplate})
	if err := compiler.AddResource(url, value); err != nil {
		return refuse("all types", err)
	}
	for eventType, pointer := range types {
		if err := events.CheckType(eventType); err != nil {
			return err
		}
		schema, err := compiler.Compile(url + pointer)
		if err != nil {
			return refuse(eventType, err)
		}
		err = r.change(eventType, func(c *checks) error {
			if c.schema != nil {
				return &events.ConfigError{Field: "validation schema for " + eventType, Value: url, Problem: "is added already", Remedy: "add one schema for each type"}
			}
			c.schema, c.source = schema, source(pointer)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// noLoader refuses every reference that leaves the document.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s is outside of the document, and nothing is loaded from files or the network", url)
}

var printer = message.NewPrinter(language.English)

// check returns the leaves of what is wrong with value.
func check(schema *jsonschema.Schema, value any) ([]events.Finding, error) {
	err := schema.Validate(value)
	if err == nil {
		return nil, nil
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return nil, err
	}
	return leaves(nil, invalid), nil
}

func leaves(findings []events.Finding, e *jsonschema.ValidationError) []events.Finding {
	for _, cause := range e.Causes {
		findings = leaves(findings, cause)
	}
	if len(e.Causes) > 0 {
		return findings
	}
	rule := "schema"
	if path := e.ErrorKind.KeywordPath(); len(path) > 0 {
		rule = path[0]
	}
	return append(findings, events.Finding{Pointer: pointer(e.InstanceLocation), Rule: rule, Message: e.ErrorKind.LocalizedString(printer)})
}

var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// pointer joins path segments to a JSON Pointer (RFC 6901).
func pointer(path []string) string {
	var b strings.Builder
	for _, segment := range path {
		b.WriteByte('/')
		b.WriteString(escapePointer.Replace(segment))
	}
	return b.String()
}
