package events

import (
	"reflect"
	"strings"
)

// structField is a field that encoding/json sets.
type structField struct {
	name  string
	index int
}

// structFields are those of a struct.
type structFields struct {
	fields []structField
	folded map[string]bool // their names in lower case
}

// fieldsOf returns false for a struct whose fields encoding/json has rules for
// that are not in here: embedded ones, the option "string", unusual names.
func fieldsOf(t reflect.Type) (of structFields, ok bool) {
	of.folded = map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			return of, false
		}
		tag := f.Tag.Get("json")
		if !f.IsExported() || tag == "-" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		if !usual(name) || of.folded[strings.ToLower(name)] || options != "" && options != "omitempty" && options != "omitzero" {
			return of, false
		}
		of.folded[strings.ToLower(name)] = true
		of.fields = append(of.fields, structField{name, i})
	}
	return of, true
}

// fillStruct returns nil for a struct that has to be left to encoding/json.
func fillStruct(t reflect.Type, inside map[reflect.Type]bool) filler {
	of, ok := fieldsOf(t)
	if !ok {
		return nil
	}
	fills := make([]filler, len(of.fields))
	for i, f := range of.fields {
		if fills[i] = makeFiller(t.Field(f.index).Type, inside); fills[i] == nil {
			return nil
		}
	}
	return func(to reflect.Value, from any) bool {
		object, ok := from.(map[string]any)
		if !ok {
			return from == nil
		}
		known := 0
		for i, f := range of.fields {
			if value, ok := object[f.name]; ok {
				known++
				if !fills[i](to.Field(f.index), value) {
					return false
				}
			}
		}
		if known == len(object) {
			return true
		}
		for name := range object {
			if of.find([]byte(name)) < 0 && of.otherSpelling([]byte(name)) {
				return false
			}
		}
		return true
	}
}

// usual reports whether a name is of characters that mean nothing special.
func usual(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.')
	})
}

// find returns which field has a name, and -1 if none has.
func (of *structFields) find(name []byte) int {
	for i := range of.fields {
		if of.fields[i].name == string(name) {
			return i
		}
	}
	return -1
}

// otherSpelling reports whether a member that is no field has the name of one in another
// spelling. encoding/json takes it, and where there are several, the last.
func (of *structFields) otherSpelling(name []byte) bool {
	var buf [64]byte
	if len(name) > len(buf) || !isASCII(name) {
		for _, f := range of.fields {
			if strings.EqualFold(string(name), f.name) {
				return true
			}
		}
		return false
	}
	lower := buf[:len(name)]
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return of.folded[string(lower)]
}
