package events

import (
	"reflect"
	"strings"
)

// structField is a field that encoding/json sets.
type structField struct {
	name  string
	index int
	fill  filler
}

// fillStruct returns nil for a struct whose fields encoding/json has rules for
// that are not in here: embedded ones, the option "string", unusual names.
func fillStruct(t reflect.Type, inside map[reflect.Type]bool) filler {
	var fields []structField
	folded := map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			return nil
		}
		tag := f.Tag.Get("json")
		if !f.IsExported() || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		if !usual(name) || folded[strings.ToLower(name)] || options != "" && options != "omitempty" && options != "omitzero" {
			return nil
		}
		folded[strings.ToLower(name)] = true
		fill := makeFiller(f.Type, inside)
		if fill == nil {
			return nil
		}
		fields = append(fields, structField{name, i, fill})
	}
	return func(to reflect.Value, from any) bool {
		object, ok := from.(map[string]any)
		if !ok {
			return from == nil
		}
		known := 0
		for _, f := range fields {
			if value, ok := object[f.name]; ok {
				known++
				if !f.fill(to.Field(f.index), value) {
					return false
				}
			}
		}
		return known == len(object) || !otherSpelling(object, fields, folded)
	}
}

// usual reports whether a name is of characters that mean nothing special.
func usual(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.')
	})
}

// otherSpelling reports whether a member has the name of a field in another
// spelling. encoding/json takes it, and where there are several, the last.
func otherSpelling(object map[string]any, fields []structField, folded map[string]bool) bool {
	var buf [64]byte
	for name := range object {
		if len(name) > len(buf) || !isASCII(name) {
			for _, f := range fields {
				if name != f.name && strings.EqualFold(name, f.name) {
					return true
				}
			}
			continue
		}
		lower := buf[:len(name)]
		for i := range len(name) {
			c := name[i]
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			lower[i] = c
		}
		if folded[string(lower)] && !isField(fields, name) {
			return true
		}
	}
	return false
}

func isField(fields []structField, name string) bool {
	for _, f := range fields {
		if f.name == name {
			return true
		}
	}
	return false
}
