package validation

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	infer "github.com/google/jsonschema-go/jsonschema"
	"github.com/logistically/events"
)

// AddType adds a schema inferred from T, the Go type of the event's body: see
// [SchemaOf]. A type may have both this and the schema of [Registry.AddSchema];
// then both are asked.
func AddType[T any](r *Registry, eventType string) error {
	text, err := SchemaOf[T]()
	if err != nil {
		return &events.ConfigError{Field: "validation.AddType " + eventType, Value: reflect.TypeFor[T]().String(), Problem: "has no schema: " + err.Error(), Remedy: "change the type, or use AddSchema"}
	}
	name := reflect.TypeFor[T]().String()
	set := schemaSet{registry: r, inferred: true}
	const location = "events:///go-type"
	if err := set.document(name, location, text); err != nil {
		return err
	}
	if err := set.add(eventType, name, location, "#"); err != nil {
		return err
	}
	return set.commit()
}

// SchemaOf returns the JSON Schema (2020-12) of what encoding/json writes for a T.
//
// A field is required unless it is omitempty or omitzero; pointers and slices may
// be null, for that is what nil ones are written as; time.Time is a date-time,
// []byte is base64, what marshals itself is a string (encoding.TextMarshaler) or
// anything (json.Marshaler). Members that the type does not know are accepted, so
// that a publisher may add some before its consumers know them.
//
// The struct tag "schema" adds keywords of JSON Schema by their names, separated
// by commas, and applies to the field's own value:
//
//	Email string   `json:"email" schema:"format=email,x-sensitive"`
//	Total float64  `json:"total" schema:"exclusiveMinimum=0"`
//	State string   `json:"state" schema:"enum=open|closed"`
//	Items []Item   `json:"items" schema:"notnull,minItems=1"`
//	SKU   string   `json:"sku" schema:"pattern=^[A-Z]{2,4}$"`
//	_     struct{} `schema:"additionalProperties=false"`
//
// A pattern comes last, for it may have commas in it; notnull refuses null; on a
// field named _ keywords apply to the struct. The tag "jsonschema" is the field's
// description. A recursive type, or a tag that is not understood, is an error.
func SchemaOf[T any]() ([]byte, error) {
	t := reflect.TypeFor[T]()
	overrides := map[reflect.Type]*infer.Schema{}
	if err := findMarshalers(t, overrides, map[reflect.Type]bool{}); err != nil {
		return nil, err
	}
	inferred, err := infer.ForType(t, &infer.ForOptions{TypeSchemas: overrides})
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(inferred)
	if err != nil {
		return nil, err
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, fmt.Errorf("%v can be anything: it needs no schema", t) // the schema true
	}
	if err := applyTags(t, schema, overrides); err != nil {
		return nil, err
	}
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	return json.Marshal(schema)
}

// findMarshalers adds the types in t that encoding/json does not write as what
// they are made of.
func findMarshalers(t reflect.Type, found map[reflect.Type]*infer.Schema, seen map[reflect.Type]bool) error {
	if seen[t] {
		return nil
	}
	seen[t] = true
	switch {
	case t == reflect.TypeFor[time.Time]():
		found[t] = &infer.Schema{Type: "string", Format: "date-time"}
		return nil
	case t == reflect.TypeFor[json.Number]():
		found[t] = &infer.Schema{Type: "number"}
		return nil
	case t.Kind() != reflect.Interface && t.Kind() != reflect.Pointer && implements[json.Marshaler](t):
		found[t] = &infer.Schema{}
		return nil
	case t.Kind() != reflect.Interface && t.Kind() != reflect.Pointer && implements[encoding.TextMarshaler](t):
		found[t] = &infer.Schema{Type: "string"}
		return nil
	}
	switch t.Kind() {
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			found[t] = &infer.Schema{Types: []string{"null", "string"}, ContentEncoding: "base64"}
			return nil
		}
		return findMarshalers(t.Elem(), found, seen)
	case reflect.Pointer, reflect.Array, reflect.Map:
		return findMarshalers(t.Elem(), found, seen)
	case reflect.Struct:
		for _, field := range reflect.VisibleFields(t) {
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); field.Anonymous && name != "" {
				return fmt.Errorf("%v embeds %v under a JSON name: give the field a name", t, field.Type)
			}
			if err := findMarshalers(field.Type, found, seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// implements reports whether a T, or a pointer to one, implements I.
func implements[I any](t reflect.Type) bool {
	i := reflect.TypeFor[I]()
	return t.Implements(i) || reflect.PointerTo(t).Implements(i)
}
