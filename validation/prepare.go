package validation

import (
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// preparation goes through compiled schemas once, before the first event. Its
// keys are those that it has seen.
type preparation map[*jsonschema.Schema]bool

// prepare refuses a schema that comes back to itself without going into the
// value, for that has no verdict on anything. And it replaces the library's check
// of names: the path in its error is overwritten by what is checked after it.
func (p preparation) prepare(root *jsonschema.Schema) error {
	if p[root] {
		return nil
	}
	p[root] = true
	all := []*jsonschema.Schema{root}
	for i := 0; i < len(all); i++ {
		s := all[i]
		for _, next := range [][]*jsonschema.Schema{always(s), sometimes(s), inside(s)} {
			for _, inner := range next {
				if inner != nil && !p[inner] {
					p[inner] = true
					all = append(all, inner)
				}
			}
		}
		if s.PropertyNames != nil && s.DraftVersion > 4 {
			s.Extensions = append(s.Extensions, nameRule{s.PropertyNames})
			s.PropertyNames = nil
		}
	}
	c := circles{}
	for _, s := range all {
		if _, seen := c[s]; seen {
			continue
		}
		if err := c.look(s); err != nil {
			return err
		}
	}
	return nil
}

// circles looks for schemas that apply to a value whenever they apply to it: the
// value is false while that is being looked at, and true once it is not so.
type circles map[*jsonschema.Schema]bool

func (c circles) look(s *jsonschema.Schema) error {
	c[s] = false
	for _, next := range always(s) {
		if next == nil {
			continue
		}
		fine, seen := c[next]
		if seen && !fine {
			return fmt.Errorf("a $ref leads back to itself, at %s, without going into the value", next.Location)
		}
		if !seen {
			if err := c.look(next); err != nil {
				return err
			}
		}
	}
	c[s] = true
	return nil
}

// always returns the schemas that s applies to the same value in any case.
func always(s *jsonschema.Schema) []*jsonschema.Schema {
	list := []*jsonschema.Schema{s.Ref, s.Not, s.If}
	list = append(list, s.AllOf...)
	list = append(list, s.AnyOf...)
	return append(list, s.OneOf...)
}

// sometimes returns the schemas that s may apply to the same value.
func sometimes(s *jsonschema.Schema) []*jsonschema.Schema {
	list := []*jsonschema.Schema{s.RecursiveRef, s.Then, s.Else}
	if s.DynamicRef != nil {
		list = append(list, s.DynamicRef.Ref)
	}
	for _, one := range s.DependentSchemas {
		list = append(list, one)
	}
	for _, dependency := range s.Dependencies {
		list = appendSchema(list, dependency)
	}
	return list
}

// inside returns the schemas that s may apply to members and items.
func inside(s *jsonschema.Schema) []*jsonschema.Schema {
	list := insideAny(s)
	for _, one := range s.Properties {
		list = append(list, one)
	}
	for _, one := range s.PatternProperties {
		list = append(list, one)
	}
	return list
}

// insideAny returns those of them that are not for members of certain names.
func insideAny(s *jsonschema.Schema) []*jsonschema.Schema {
	list := []*jsonschema.Schema{s.UnevaluatedProperties, s.Items2020, s.Contains, s.UnevaluatedItems}
	for _, one := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items} {
		list = appendSchema(list, one)
	}
	return append(list, s.PrefixItems...)
}

// appendSchema adds what the library holds as one of several things.
func appendSchema(list []*jsonschema.Schema, v any) []*jsonschema.Schema {
	switch v := v.(type) {
	case *jsonschema.Schema:
		list = append(list, v)
	case []*jsonschema.Schema:
		list = append(list, v...)
	}
	return list
}

// nameRule is propertyNames.
type nameRule struct{ schema *jsonschema.Schema }

// Validate implements jsonschema.SchemaExt.
func (n nameRule) Validate(ctx *jsonschema.ValidatorContext, v any) {
	object, ok := v.(map[string]any)
	if !ok {
		return
	}
	for name := range object {
		if n.schema.Validate(name) != nil {
			ctx.AddError(&kind.PropertyNames{Property: name})
		}
	}
}
