package validation

import (
	"encoding/json"
	"math/big"
	"reflect"
	"slices"
	"strings"
)

// allTypes are the types of JSON values; integer is a part of number.
var allTypes = []string{"array", "boolean", "null", "number", "object", "string"}

// typesOf returns the types that values have for which all of schemas hold.
func typesOf(schemas ...map[string]any) []string {
	types := allTypes
	for _, s := range schemas {
		types = intersect(types, namedTypes(s))
	}
	return types
}

func namedTypes(s map[string]any) []string {
	var named []string
	switch t := s["type"].(type) {
	case string:
		named = []string{t}
	case []any:
		for _, one := range t {
			if one, ok := one.(string); ok {
				named = append(named, one)
			}
		}
	}
	if values, ok := valuesOf(s); ok {
		var have []string
		for _, v := range values {
			have = append(have, typeOf(v))
		}
		if named == nil {
			return have
		}
		return intersect(named, have)
	}
	if named == nil {
		return allTypes
	}
	return named
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case map[string]any:
		return "object"
	case json.Number:
		if n := rational(v); n != nil && n.IsInt() {
			return "integer"
		}
	}
	return "number"
}

func intersect(a, b []string) []string {
	var both []string
	for _, t := range a {
		if slices.Contains(b, t) || t == "integer" && slices.Contains(b, "number") {
			both = append(both, t)
		} else if t == "number" && slices.Contains(b, "integer") {
			both = append(both, "integer")
		}
	}
	return both
}

func join(types []string) string {
	if len(types) == len(allTypes) {
		return "anything"
	}
	return strings.Join(types, " or ")
}

func (n *need) checkTypes() {
	demanded := namedTypes(map[string]any{"type": n.demand["type"]})
	var refused []string
	for _, t := range n.types {
		if !slices.Contains(intersect([]string{t}, demanded), t) {
			refused = append(refused, t)
		}
	}
	if len(refused) > 0 && n.demand["type"] != nil {
		n.breaks(n.at, "type", "may have %s here, and %s take %s only", join(refused), n.reader, join(demanded))
	}
	if _, ok := n.demand["not"]; ok && reflect.DeepEqual(n.demand, never) {
		n.breaks(n.at, "false", "may have something here, and %s take nothing", n.reader)
	}
}

// valuesOf returns the values that a schema lists, by const or enum.
func valuesOf(s map[string]any) ([]any, bool) {
	if v, ok := s["const"]; ok {
		return []any{v}, true
	}
	v, ok := s["enum"].([]any)
	return v, ok
}

func (n *need) checkValues() {
	demanded, ok := valuesOf(n.demand)
	if !ok {
		return
	}
	rule := "enum"
	if _, ok := n.demand["const"]; ok {
		rule = "const"
	}
	var listed []any
	limited := false
	for _, s := range n.written {
		if values, ok := valuesOf(s); ok && (!limited || len(values) < len(listed)) {
			listed, limited = values, true
		}
	}
	if !limited {
		n.breaks(n.at, rule, "may have any value here, and %s know a list of them only", n.reader)
	}
	for _, v := range listed {
		if !slices.ContainsFunc(demanded, func(d any) bool { return equalValues(v, d) }) {
			n.breaks(n.at, rule, "may have %s here, which %s do not know", display(v), n.reader)
		}
	}
}

func equalValues(a, b any) bool {
	x, y := rational(a), rational(b)
	if x != nil && y != nil {
		return x.Cmp(y) == 0
	}
	return reflect.DeepEqual(a, b)
}

func rational(v any) *big.Rat {
	number, ok := v.(json.Number)
	if !ok {
		return nil
	}
	r, ok := new(big.Rat).SetString(string(number))
	if !ok {
		return nil
	}
	return r
}

// bounds are the keywords that limit a size, and of values of which type.
var bounds = []struct {
	keyword, jsonType string
	upper             bool
}{
	{"minLength", "string", false}, {"maxLength", "string", true},
	{"minItems", "array", false}, {"maxItems", "array", true},
	{"minProperties", "object", false}, {"maxProperties", "object", true},
	{"minimum", "number", false}, {"maximum", "number", true},
	{"exclusiveMinimum", "number", false}, {"exclusiveMaximum", "number", true},
}

func (n *need) checkBounds() {
	for _, b := range bounds {
		demanded, open := bound(n.demand, b.keyword)
		if demanded == nil || !n.may(b.jsonType) || !b.upper && strings.HasSuffix(b.keyword, "Items") && demanded.Sign() == 0 {
			continue
		}
		kept := false
		for _, s := range n.written {
			keywords := []string{b.keyword}
			switch {
			case b.jsonType == "number" && b.upper:
				keywords = []string{"maximum", "exclusiveMaximum"}
			case b.jsonType == "number":
				keywords = []string{"minimum", "exclusiveMinimum"}
			}
			for _, keyword := range keywords {
				have, haveOpen := bound(s, keyword)
				if have == nil {
					continue
				}
				order := have.Cmp(demanded)
				if b.upper {
					order = -order
				}
				kept = kept || order > 0 || order == 0 && (haveOpen || !open)
			}
			if b.keyword == "minProperties" {
				kept = kept || big.NewRat(int64(len(listOf(s["required"]))), 1).Cmp(demanded) >= 0
			}
		}
		if !kept && (b.jsonType == "number" || b.upper || demanded.Sign() > 0) {
			n.breaks(n.at, b.keyword, "may be over this limit, which for %s is %s", n.reader, demanded.RatString())
		}
	}
	if demanded := rational(n.demand["multipleOf"]); demanded != nil && demanded.Sign() > 0 && n.may("number") {
		kept := !slices.Contains(n.types, "number") && new(big.Rat).Inv(demanded).IsInt()
		for _, s := range n.written {
			have := rational(s["multipleOf"])
			kept = kept || have != nil && new(big.Rat).Quo(have, demanded).IsInt()
		}
		if !kept {
			n.breaks(n.at, "multipleOf", "may have numbers here that are no multiple of %s, as %s want them", demanded.RatString(), n.reader)
		}
	}
}

// bound reads a limit, and whether it is itself outside. In draft 4 that is
// said by a second keyword.
func bound(s map[string]any, keyword string) (limit *big.Rat, open bool) {
	open = strings.HasPrefix(keyword, "exclusive")
	if keyword == "minimum" && s["exclusiveMinimum"] == true || keyword == "maximum" && s["exclusiveMaximum"] == true {
		open = true
	}
	return rational(s[keyword]), open
}

// whole are the keywords that are only compared as a whole.
var whole = []string{
	"format", "pattern", "contentEncoding", "contentMediaType", "contentSchema", "uniqueItems", "not", "if", "then", "else",
	"contains", "minContains", "maxContains", "propertyNames", "patternProperties", "dependencies", "dependentRequired",
	"dependentSchemas", "unevaluatedItems", "unevaluatedProperties", "$dynamicRef", "$recursiveRef",
}

func (n *need) checkEqual() {
	if reflect.DeepEqual(n.demand, never) {
		return
	}
	for _, keyword := range whole {
		demanded, ok := n.demand[keyword]
		if !ok || demanded == false && keyword == "uniqueItems" {
			continue
		}
		if (keyword == "format" || keyword == "pattern") && !n.may("string") || keyword == "uniqueItems" && !n.may("array") {
			continue
		}
		if keyword == "then" || keyword == "else" {
			if _, ok := n.demand["if"]; !ok {
				continue
			}
		}
		kept := slices.ContainsFunc(n.written, func(s map[string]any) bool { return reflect.DeepEqual(s[keyword], demanded) })
		if kept && (n.same || !refers(demanded)) {
			continue
		}
		n.breaks(n.at, keyword, "may break this rule of %s", n.reader)
	}
}

// refers reports whether there is a reference in a schema: what is equal by its
// words may mean something else in another document.
func refers(schema any) bool {
	switch v := schema.(type) {
	case map[string]any:
		for name, inner := range v {
			if name == "$ref" || name == "$dynamicRef" || name == "$recursiveRef" || refers(inner) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, refers)
	}
	return false
}
