package validation

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// comparison asks whether all that one schema allows, writes, is allowed by
// another, reads.
type comparison struct {
	reader        Reader
	writes, reads side
	same          bool // the documents are equal, so equal $refs are, too
	doing         []string
	steps         int
}

// maxSteps limits what a comparison costs: branches within branches multiply.
const maxSteps = 100_000

// check returns what may be written that read does not allow. What is written
// satisfies all of written.
func (c *comparison) check(at string, written []map[string]any, read any) ([]Break, error) {
	if c.steps++; c.steps > maxSteps {
		return nil, c.reads.problem(c.steps, "has too many branches to compare")
	}
	if slices.ContainsFunc(written, func(s map[string]any) bool { return reflect.DeepEqual(s, never) }) {
		return nil, nil // Nothing is written here.
	}
	demands, err := c.reads.conjuncts(nil, read, 0)
	if err != nil {
		return nil, err
	}
	key := identity(written, demands)
	if slices.Contains(c.doing, key) {
		return nil, nil // A recursive schema: it holds if it holds elsewhere.
	}
	c.doing = append(c.doing, key)
	defer func() { c.doing = c.doing[:len(c.doing)-1] }()

	if cases, err := c.cases(written); err != nil || cases != nil {
		var all []Break
		for _, one := range cases {
			found, err := c.check(at, one, read)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		return all, err
	}
	var all []Break
	for _, demand := range demands {
		n := need{comparison: c, at: at, written: written, demand: demand, types: typesOf(written...)}
		if err := n.check(); err != nil {
			return nil, err
		}
		all = append(all, n.found...)
	}
	return all, nil
}

// identity tells whether the same question is being answered already.
func identity(written, demands []map[string]any) string {
	var b strings.Builder
	for _, list := range [][]map[string]any{written, demands} {
		for _, s := range list {
			fmt.Fprintf(&b, "%x,", reflect.ValueOf(s).Pointer())
		}
		b.WriteByte(';')
	}
	return b.String()
}

// cases splits what is written by its first anyOf or oneOf; nil if it has none.
func (c *comparison) cases(written []map[string]any) ([][]map[string]any, error) {
	for i, s := range written {
		for _, keyword := range []string{"anyOf", "oneOf"} {
			branches := listOf(s[keyword])
			if branches == nil {
				continue
			}
			rest := maps.Clone(s)
			delete(rest, keyword)
			delete(rest, "$ref") // Its target is in written itself.
			delete(rest, "allOf")
			var all [][]map[string]any
			for _, branch := range branches {
				one := slices.Clone(written)
				one[i] = rest
				one, err := c.writes.conjuncts(one, branch, 0)
				if err != nil {
					return nil, err
				}
				all = append(all, one)
			}
			return all, nil
		}
	}
	return nil, nil
}

// need is one schema that has to hold of what is written.
type need struct {
	*comparison
	at      string
	written []map[string]any
	types   []string // that are written
	demand  map[string]any
	found   []Break
}

func (n *need) breaks(at, rule, format string, args ...any) {
	from := "new events"
	if n.reader == NewConsumer {
		from = "old events"
	}
	n.found = append(n.found, Break{Pointer: at, Rule: rule, Reader: n.reader, Reason: from + " " + fmt.Sprintf(format, args...)})
}

// may reports whether a value of this type may be written.
func (n *need) may(jsonType string) bool {
	return slices.Contains(n.types, jsonType) || jsonType == "number" && slices.Contains(n.types, "integer")
}

func (n *need) check() error {
	n.checkTypes()
	n.checkValues()
	n.checkBounds()
	n.checkEqual()
	for _, check := range []func() error{n.checkBranches, n.checkObject, n.checkArray} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// inside checks a part of what is written against a part of the demand.
func (n *need) inside(name string, written []any, read any) error {
	var all []map[string]any
	for _, schema := range written {
		var err error
		if all, err = n.writes.conjuncts(all, schema, 0); err != nil {
			return err
		}
	}
	found, err := n.comparison.check(n.at+"/"+escapePointer.Replace(name), all, read)
	n.found = append(n.found, found...)
	return err
}

// checkBranches asks that each case of what is written fits one branch.
func (n *need) checkBranches() error {
	for _, keyword := range []string{"anyOf", "oneOf"} {
		branches := listOf(n.demand[keyword])
		if branches == nil {
			continue
		}
		for _, one := range n.byType() {
			fits := false
			for _, branch := range branches {
				found, err := n.comparison.check(n.at, one, branch)
				if err != nil {
					return err
				}
				if fits = len(found) == 0; fits {
					break
				}
			}
			if !fits {
				n.breaks(n.at, keyword, "may have %s here that fits no branch that %s know", join(typesOf(one...)), n.reader)
			}
		}
	}
	return nil
}

// byType splits what is written by type, since each may fit another branch.
func (n *need) byType() [][]map[string]any {
	if len(n.types) == 1 || len(n.types) == len(allTypes) {
		return [][]map[string]any{n.written}
	}
	var all [][]map[string]any
	for _, t := range n.types {
		all = append(all, append(slices.Clip(n.written), map[string]any{"type": t}))
	}
	return all
}

func (n *need) checkObject() error {
	if !n.may("object") {
		return nil
	}
	written := map[string]bool{}
	for _, s := range n.written {
		for _, name := range listOf(s["required"]) {
			if name, ok := name.(string); ok {
				written[name] = true
			}
		}
	}
	for _, name := range listOf(n.demand["required"]) {
		if name, ok := name.(string); ok && !written[name] {
			n.breaks(n.at, "required", "may lack %q, which %s need", name, n.reader)
		}
	}
	known := objectOf(n.demand["properties"])
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if schemas := memberOf(n.written, name); schemas != nil {
			if err := n.inside(name, schemas, known[name]); err != nil {
				return err
			}
		}
	}
	rest, ok := n.demand["additionalProperties"]
	if !ok || rest == true {
		return nil
	}
	patterns := len(objectOf(n.demand["patternProperties"])) > 0
	for _, name := range namesIn(n.written, "properties") {
		if _, ok := known[name]; ok || patterns {
			continue
		}
		if rest == false {
			n.breaks(n.at+"/"+escapePointer.Replace(name), "additionalProperties", "may have this member, and %s take none but those they know", n.reader)
		} else if err := n.inside(name, memberOf(n.written, name), rest); err != nil {
			return err
		}
	}
	var others []any
	for _, s := range n.written {
		if more, ok := s["additionalProperties"]; ok {
			others = append(others, more)
		}
	}
	if rest == false {
		if !slices.Contains(others, any(false)) {
			n.breaks(n.at, "additionalProperties", "may have members of other names, and %s take none but those they know", n.reader)
		}
		return nil
	}
	return n.inside("*", others, rest)
}

// memberOf returns the schemas of a named member of what is written, nil if none
// names it.
func memberOf(written []map[string]any, name string) []any {
	var all []any
	for _, s := range written {
		if one, ok := objectOf(s["properties"])[name]; ok {
			all = append(all, one)
		} else if more := objectOf(s["additionalProperties"]); more != nil && s["patternProperties"] == nil {
			all = append(all, more)
		}
	}
	return all
}

func (n *need) checkArray() error {
	if !n.may("array") {
		return nil
	}
	first, rest := itemsOf(n.demand)
	for i, demand := range first {
		if err := n.inside(strconv.Itoa(i), itemOf(n.written, i), demand); err != nil {
			return err
		}
	}
	if rest == nil || rest == true {
		return nil
	}
	longest := len(first)
	for _, s := range n.written {
		tuple, _ := itemsOf(s)
		longest = max(longest, len(tuple))
	}
	for i := len(first); i < longest; i++ {
		if err := n.inside(strconv.Itoa(i), itemOf(n.written, i), rest); err != nil {
			return err
		}
	}
	return n.inside("*", itemOf(n.written, longest), rest)
}

// itemsOf returns the schemas of an array's first items, and that of the rest,
// in the words of whatever draft.
func itemsOf(schema map[string]any) (first []any, rest any) {
	if first = listOf(schema["prefixItems"]); first != nil {
		return first, schema["items"]
	}
	if first = listOf(schema["items"]); first != nil {
		return first, schema["additionalItems"]
	}
	return nil, schema["items"]
}

// itemOf returns the schemas of one item of what is written.
func itemOf(written []map[string]any, i int) []any {
	var all []any
	for _, s := range written {
		first, rest := itemsOf(s)
		if i < len(first) {
			all = append(all, first[i])
		} else if rest != nil {
			all = append(all, rest)
		}
	}
	return all
}
