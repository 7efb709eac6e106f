package validation

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// keywordSensitive marks a schema whose values must not be quoted anywhere.
const keywordSensitive = "x-sensitive"

// secrets are the locations of schemas that say "x-sensitive": true. The schema
// library drops keywords that it does not know, so they are looked for in the text.
type secrets map[string]bool

// find adds those of value, a schema document that the library knows as location.
func (s secrets) find(location string, value any, path []string) {
	switch v := value.(type) {
	case map[string]any:
		if v[keywordSensitive] == true {
			s[location+"#"+encodePointer(path)] = true
		}
		for name, inner := range v {
			s.find(location, inner, append(path, name))
		}
	case []any:
		for i, inner := range v {
			s.find(location, inner, append(path, strconv.Itoa(i)))
		}
	}
}

// encodePointer writes a JSON pointer as the library does in a Schema's Location.
func encodePointer(path []string) string {
	var b strings.Builder
	for _, segment := range path {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(escapePointer.Replace(segment)))
	}
	return b.String()
}

// within returns how many segments of path lead to the outermost value that is
// sensitive, or -1. A value is sensitive as soon as one of the schemas that may
// apply to it says so, be it in a branch that was not taken.
func (s secrets) within(root *jsonschema.Schema, path []string) int {
	if len(s) == 0 {
		return -1
	}
	here := appliedHere(nil, root)
	for i := 0; ; i++ {
		for _, schema := range here {
			if s[schema.Location] {
				return i
			}
		}
		if i == len(path) {
			return -1
		}
		var next []*jsonschema.Schema
		for _, schema := range here {
			for _, inner := range appliedInside(schema, path[i]) {
				next = appliedHere(next, inner)
			}
		}
		here = next
	}
}

// appliedHere adds schema and all schemas that it may apply to the same value.
func appliedHere(to []*jsonschema.Schema, schema *jsonschema.Schema) []*jsonschema.Schema {
	if schema == nil {
		return to
	}
	for _, have := range to {
		if have == schema {
			return to
		}
	}
	to = append(to, schema)
	for _, one := range append(always(schema), sometimes(schema)...) {
		to = appliedHere(to, one)
	}
	return to
}

// appliedInside returns the schemas that schema may apply to a member or item.
func appliedInside(schema *jsonschema.Schema, segment string) []*jsonschema.Schema {
	list := append(insideAny(schema), schema.Properties[segment])
	for pattern, one := range schema.PatternProperties {
		if pattern.MatchString(segment) {
			list = append(list, one)
		}
	}
	return list
}
