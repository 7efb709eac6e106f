package validation

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	infer "github.com/google/jsonschema-go/jsonschema"
)

// tagKeywords are what the struct tag "schema" may say, and how its value is read.
var tagKeywords = map[string]func(text string) (any, error){
	"format": asText, "pattern": asText, "title": asText, "description": asText,
	"minLength": asNumber, "maxLength": asNumber, "minItems": asNumber, "maxItems": asNumber,
	"minProperties": asNumber, "maxProperties": asNumber, "multipleOf": asNumber,
	"minimum": asNumber, "maximum": asNumber, "exclusiveMinimum": asNumber, "exclusiveMaximum": asNumber,
	"uniqueItems": asFlag, "additionalProperties": asFlag, "deprecated": asFlag, keywordSensitive: asFlag,
	"const": asValue, "enum": asValues,
}

func asText(text string) (any, error) { return text, nil }

func asNumber(text string) (any, error) {
	v, err := asValue(text)
	if _, ok := v.(json.Number); !ok || err != nil {
		return nil, fmt.Errorf("%q is no number", text)
	}
	return v, nil
}

func asFlag(text string) (any, error) {
	switch text {
	case "", "true":
		return true, nil
	case "false":
		return false, nil
	}
	return nil, fmt.Errorf("%q is neither true nor false", text)
}

// asValue reads a number, true, false, null, or else a text.
func asValue(text string) (any, error) {
	doc, faults := decode([]byte(text))
	if !faults.empty() {
		return text, nil
	}
	return doc.value, nil
}

func asValues(text string) (any, error) {
	var all []any
	for one := range strings.SplitSeq(text, "|") {
		v, err := asValue(one)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// applyTags adds to the schema of t what the struct tags in it say.
func applyTags(t reflect.Type, schema map[string]any, leaves map[reflect.Type]*infer.Schema) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if _, leaf := leaves[t]; leaf {
		return nil
	}
	inner := func(keyword string) error {
		s, ok := schema[keyword].(map[string]any)
		if !ok {
			return nil // anything
		}
		return applyTags(t.Elem(), s, leaves)
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array:
		return inner("items")
	case reflect.Map:
		return inner("additionalProperties")
	case reflect.Struct:
		delete(schema, "additionalProperties") // The library closes all structs.
		properties, _ := schema["properties"].(map[string]any)
		for _, field := range reflect.VisibleFields(t) {
			target := schema
			if field.Name != "_" {
				property, ok := properties[jsonName(field)]
				if !ok || field.Anonymous {
					continue
				}
				target, ok = property.(map[string]any)
				if !ok { // the schema true
					target = map[string]any{}
					properties[jsonName(field)] = target
				}
				if err := applyTags(field.Type, target, leaves); err != nil {
					return err
				}
			}
			if err := applyTag(target, field.Tag.Get("schema")); err != nil {
				return fmt.Errorf("field %s of %v: tag schema: %w", field.Name, t, err)
			}
		}
	}
	return nil
}

func applyTag(schema map[string]any, tag string) error {
	for tag != "" {
		var part string
		if strings.HasPrefix(tag, "pattern=") {
			part, tag = tag, ""
		} else {
			part, tag, _ = strings.Cut(tag, ",")
		}
		keyword, text, _ := strings.Cut(part, "=")
		if keyword == "notnull" {
			if types, ok := schema["type"].([]any); ok {
				schema["type"] = slices.DeleteFunc(types, func(t any) bool { return t == "null" })
			}
			continue
		}
		read, ok := tagKeywords[keyword]
		if !ok {
			return fmt.Errorf("%q is none of the keywords that SchemaOf lists", keyword)
		}
		v, err := read(text)
		if err != nil {
			return fmt.Errorf("%s: %w", keyword, err)
		}
		schema[keyword] = v
	}
	return nil
}

// jsonName is the name under which encoding/json writes a field.
func jsonName(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
	if name == "" {
		return field.Name
	}
	return name
}
