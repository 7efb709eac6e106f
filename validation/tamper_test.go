package validation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/webhooks"
)

// shape is a part of a webhook's schema, with its references followed.
type shape map[string]any

// tampering is one way to spoil a value: it returns the spoilt one and the rule that
// it breaks, or false where it cannot be done by what the schema says.
type tampering struct {
	name  string
	rule  string
	spoil func(s shape, value any) (any, bool)
}

func hasType(s shape, types ...string) bool {
	t, ok := s["type"].(string)
	return ok && slices.Contains(types, t) && s["enum"] == nil && s["const"] == nil
}

// replace spoils values of a type by one of another.
func replace(jsonType string, by any) func(shape, any) (any, bool) {
	return func(s shape, _ any) (any, bool) { return by, hasType(s, jsonType) }
}

func badFormat(format, text string) func(shape, any) (any, bool) {
	return func(s shape, value any) (any, bool) {
		_, isText := value.(string)
		return text, isText && s["format"] == format && hasType(s, "string")
	}
}

func badEnum(by any) func(shape, any) (any, bool) {
	return func(s shape, value any) (any, bool) {
		_, isText := value.(string)
		return by, s["enum"] != nil && isText
	}
}

// without leaves out the required member that comes first or last.
func without(last bool) func(shape, any) (any, bool) {
	return func(s shape, value any) (any, bool) {
		object, ok := value.(map[string]any)
		required, _ := s["required"].([]any)
		if !ok || len(required) == 0 {
			return nil, false
		}
		name := fmt.Sprint(required[0])
		if last {
			name = fmt.Sprint(required[len(required)-1])
		}
		object = maps.Clone(object)
		delete(object, name)
		return object, true
	}
}

func extra(name string) func(shape, any) (any, bool) {
	return func(s shape, value any) (any, bool) {
		object, ok := value.(map[string]any)
		if !ok || s["additionalProperties"] != false {
			return nil, false
		}
		object = maps.Clone(object)
		object[name] = 1
		return object, true
	}
}

var tamperings = []tampering{
	{"object becomes text", "type", replace("object", "x")},
	{"object becomes array", "type", replace("object", []any{})},
	{"object becomes null", "type", replace("object", nil)},
	{"object becomes number", "type", replace("object", 1)},
	{"text becomes array", "type", replace("string", []any{"x"})},
	{"text becomes number", "type", replace("string", 1)},
	{"text becomes boolean", "type", replace("string", true)},
	{"text becomes null", "type", replace("string", nil)},
	{"text becomes object", "type", replace("string", map[string]any{})},
	{"integer becomes text", "type", replace("integer", "1")},
	{"integer becomes fraction", "type", replace("integer", 1.5)},
	{"integer becomes null", "type", replace("integer", nil)},
	{"boolean becomes text", "type", replace("boolean", "true")},
	{"boolean becomes number", "type", replace("boolean", 0)},
	{"array becomes object", "type", replace("array", map[string]any{})},
	{"array becomes text", "type", replace("array", "x")},
	{"first required member is missing", "required", without(false)},
	{"last required member is missing", "required", without(true)},
	{"unknown member", "additionalProperties", extra("unknown")},
	{"unknown member with / and ~", "additionalProperties", extra("a/b~c")},
	{"text that is not listed", "enum", badEnum("never-heard-of")},
	{"number instead of one listed", "type", badEnum(1)},
	{"empty text instead of one listed", "enum", badEnum("")},
	{"no date", "format", badFormat("date-time", "yesterday")},
	{"month 13", "format", badFormat("date-time", "2026-13-01T00:00:00Z")},
	{"no URI", "format", badFormat("uri", "not a uri")},
	{"open template", "format", badFormat("uri-template", "https://example.com/{x")},
}

// tamper spoils the first value that can be, and returns its pointer.
func (t tampering) tamper(root shape, s shape, value any, at string) (any, string, bool) {
	s = follow(root, s)
	for _, keyword := range []string{"oneOf", "anyOf", "allOf"} {
		if s[keyword] != nil {
			return nil, "", false // What is wrong may be said of several branches.
		}
	}
	if spoilt, ok := t.spoil(s, value); ok {
		return spoilt, at, true
	}
	switch v := value.(type) {
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(v)) {
			inner, ok := properties[name].(map[string]any)
			if !ok {
				continue
			}
			if spoilt, pointer, ok := t.tamper(root, inner, v[name], at+"/"+escape.Replace(name)); ok {
				v = maps.Clone(v)
				v[name] = spoilt
				return v, pointer, true
			}
		}
	case []any:
		inner, ok := s["items"].(map[string]any)
		for i := 0; ok && i < len(v); i++ {
			if spoilt, pointer, ok := t.tamper(root, inner, v[i], fmt.Sprintf("%s/%d", at, i)); ok {
				v = slices.Clone(v)
				v[i] = spoilt
				return v, pointer, true
			}
		}
	}
	return nil, "", false
}

var escape = strings.NewReplacer("~", "~0", "/", "~1")

func follow(root, s shape) shape {
	for {
		ref, ok := s["$ref"].(string)
		if !ok {
			return s
		}
		definitions, _ := root["definitions"].(map[string]any)
		s, _ = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
	}
}

func TestTamperedWebhooksAreRefusedWithTheRightPointer(t *testing.T) {
	r, all := webhookRegistry(t)
	document, err := webhooks.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var root shape
	if err := json.Unmarshal(document, &root); err != nil {
		t.Fatal(err)
	}
	counts, tried, byType, done := map[string]int{}, 0, map[string]int{}, map[[2]string]bool{}
	for _, e := range all {
		if !e.Valid {
			continue
		}
		var body any
		if err := json.Unmarshal(e.Body, &body); err != nil {
			t.Fatal(err)
		}
		for _, kind := range tamperings {
			if done[[2]string{e.Type, kind.name}] {
				continue
			}
			spoilt, pointer, ok := kind.tamper(root, shape{"$ref": "#/definitions/" + e.Definition}, body, "")
			if !ok {
				continue
			}
			done[[2]string{e.Type, kind.name}] = true
			text, err := json.Marshal(spoilt)
			if err != nil {
				t.Fatal(err)
			}
			counts[kind.name]++
			byType[e.Type]++
			tried++
			invalid, ok := errors.AsType[*events.ValidationError](r.Validate(t.Context(), e.Type, text)) // a false accept is not ok
			if !ok {
				t.Errorf("%s, %s at %q: accepted", e.Type, kind.name, pointer)
			} else if len(invalid.Findings) != 1 || invalid.Findings[0].Pointer != pointer || invalid.Findings[0].Rule != kind.rule {
				t.Errorf("%s, %s at %q: got %v", e.Type, kind.name, pointer, invalid)
			}
		}
	}
	for _, kind := range tamperings {
		t.Logf("%4d x %s", counts[kind.name], kind.name)
		if counts[kind.name] == 0 {
			t.Errorf("nothing was tampered with so: %s", kind.name)
		}
	}
	fewest := tried
	for _, n := range byType {
		fewest = min(fewest, n)
	}
	if fewest < 20 {
		t.Errorf("%d kinds for one of the types, want at least 20", fewest)
	}
	t.Logf("%d bodies of %d types, at least %d of a type, by %d kinds", tried, len(byType), fewest, len(tamperings))
}
