package validation

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/logistically/events"
)

// Reader says who is broken by a change of a schema.
type Reader int

const (
	// OldConsumer is one that has the old schema still, and gets new events.
	OldConsumer Reader = iota
	// NewConsumer is one that has the new schema, and gets old events: those
	// still in the stream, and those of publishers that come later.
	NewConsumer
)

func (r Reader) String() string {
	if r == OldConsumer {
		return "old consumers"
	}
	return "new consumers"
}

// Break is one reason why a change of a schema is not compatible.
type Break struct {
	Pointer string // where: a JSON Pointer into the body, * standing for any item or name
	Rule    string // which rule: the JSON Schema keyword
	Reader  Reader // for whom
	Reason  string // what may come that is not taken, for people
}

func (b Break) String() string {
	return fmt.Sprintf("at %s: %s (%s)", cmp.Or(b.Pointer, "body"), b.Reason, b.Rule)
}

// Compatible tells whether a change of an event's JSON Schema breaks consumers,
// and why: none of what it returns breaks. Consumers are not all updated at the
// same moment, and streams hold old events, so it looks both ways: whatever the
// new schema allows, the old one must, or OldConsumer breaks; and whatever the
// old one allows, the new one must, or NewConsumer does. If only the latter
// breaks, a new version with a [Registry.AddUpcast] is the remedy; if the former
// does, consumers must be updated first.
//
// A member that a schema does not name is taken as never sent, so an optional
// member may come and go. What cannot be compared (not, if, contains, and so on)
// counts as a break when it has changed, and oneOf is compared like anyOf. A $ref
// must point within its document. The error says which of the schemas is none.
func Compatible(oldSchema, newSchema []byte) ([]Break, error) {
	before, err := readSchema("old", oldSchema)
	if err != nil {
		return nil, err
	}
	after, err := readSchema("new", newSchema)
	if err != nil {
		return nil, err
	}
	var all []Break
	for _, c := range []*comparison{
		{reader: OldConsumer, writes: after, reads: before, same: reflect.DeepEqual(before, after)},
		{reader: NewConsumer, writes: before, reads: after, same: reflect.DeepEqual(before, after)},
	} {
		written, err := c.writes.conjuncts(nil, c.writes.root, 0)
		if err != nil {
			return nil, err
		}
		found, err := c.check("", written, c.reads.root)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	slices.SortFunc(all, func(a, b Break) int {
		return cmp.Or(cmp.Compare(a.Reader, b.Reader), cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.Compact(all), nil
}

// side is one of the two schemas.
type side struct {
	name string
	root any
}

func readSchema(name string, text []byte) (side, error) {
	r, err := NewRegistry(Config{})
	if err != nil {
		return side{}, err
	}
	if err := r.AddSchema(name, text); err != nil { // It compiles, so its parts are of the right types.
		return side{}, err
	}
	doc, _ := decode(text)
	return side{name, doc.value}, nil
}

// never is the schema false as an object.
var never = map[string]any{"not": true}

// conjuncts adds all schemas that hold wherever schema does: itself, what it
// refers to, and its allOf. The schema true adds none.
func (s side) conjuncts(to []map[string]any, schema any, depth int) ([]map[string]any, error) {
	if schema == false {
		return append(to, never), nil
	}
	object, ok := schema.(map[string]any)
	if !ok {
		return to, nil
	}
	if depth > maxDepth {
		return nil, s.problem("$ref", "a $ref leads back to itself")
	}
	if len(object) != 1 || object["$ref"] == nil { // Recursion is recognised without.
		to = append(to, object)
	}
	if ref, ok := object["$ref"].(string); ok {
		target, err := s.resolve(ref)
		if err != nil {
			return nil, err
		}
		if to, err = s.conjuncts(to, target, depth+1); err != nil {
			return nil, err
		}
	}
	for _, one := range listOf(object["allOf"]) {
		var err error
		if to, err = s.conjuncts(to, one, depth+1); err != nil {
			return nil, err
		}
	}
	return to, nil
}

func (s side) problem(value any, problem string) error {
	return &events.ConfigError{Field: "validation.Compatible " + s.name + " schema", Value: value, Problem: problem, Remedy: "compare schemas whose references are JSON pointers within the document"}
}

func (s side) resolve(ref string) (any, error) {
	path, ok := strings.CutPrefix(ref, "#")
	path, err := url.PathUnescape(path)
	if !ok || err != nil || path != "" && path[0] != '/' {
		return nil, s.problem(ref, "is a reference that cannot be followed")
	}
	value := s.root
	for _, segment := range strings.Split(path, "/")[1:] {
		segment = strings.NewReplacer("~1", "/", "~0", "~").Replace(segment)
		found := false
		switch v := value.(type) {
		case map[string]any:
			value, found = v[segment]
		case []any:
			if i, err := strconv.Atoi(segment); err == nil && 0 <= i && i < len(v) {
				value, found = v[i], true
			}
		}
		if !found {
			return nil, s.problem(ref, "is a reference to nothing")
		}
	}
	return value, nil
}

func listOf(v any) []any {
	list, _ := v.([]any)
	return list
}

func objectOf(v any) map[string]any {
	object, _ := v.(map[string]any)
	return object
}

// namesIn returns the names that a keyword has in any of several schemas, sorted.
func namesIn(schemas []map[string]any, keyword string) []string {
	names := map[string]bool{}
	for _, s := range schemas {
		for name := range objectOf(s[keyword]) {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
