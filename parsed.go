package events

import (
	"context"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// ParsingValidator is a [Validator] that returns what it has made of a body, so
// that nobody has to parse it again. Package validation's Registry is one.
type ParsingValidator interface {
	Validator
	// Parse is Validate, and returns the body's value if that had to be parsed
	// and is acceptable: nil, bool, string, json.Number, []any or
	// map[string]any, none of which anybody may change. The body is JSON in UTF-8
	// in which no object has a name twice.
	Parse(ctx context.Context, eventType string, body []byte) (value any, parsed bool, err error)
}

type parsedKey struct{}

type parsedBody struct {
	text  []byte
	value any
}

// ContextWithParsedBody returns a context in which value is what
// [ParsingValidator.Parse] has made of body. [Decode] takes it from the context of a
// message whose payload is body, the very same slice, instead of parsing that again.
func ContextWithParsedBody(ctx context.Context, body []byte, value any) context.Context {
	return context.WithValue(ctx, parsedKey{}, &parsedBody{body, value})
}

// decodeParsed sets to, a pointer to a zero value, from the parsed body in ctx.
// It returns false if there is none of this text, or if it cannot do as
// encoding/json does: then to may be half set.
func decodeParsed(ctx context.Context, text []byte, to any) bool {
	p, ok := ctx.Value(parsedKey{}).(*parsedBody)
	if !ok || len(text) == 0 || len(p.text) != len(text) || &p.text[0] != &text[0] {
		return false
	}
	v := reflect.ValueOf(to).Elem()
	fill := fillerOf(v.Type())
	return fill != nil && fill(v, p.value)
}

// filler sets a zero value of a Go type from a JSON value, as encoding/json
// would. It returns false where the value does not fit, or may not be what
// encoding/json would choose: that is asked then, for its verdict and its error.
type filler func(to reflect.Value, from any) bool

var fillers sync.Map // of reflect.Type to filler, nil where there is none

func fillerOf(t reflect.Type) filler {
	if known, ok := fillers.Load(t); ok {
		return known.(filler)
	}
	f := makeFiller(t, map[reflect.Type]bool{})
	fillers.Store(t, f)
	return f
}

// makeFiller returns nil for what is left to encoding/json: types that
// unmarshal themselves from JSON, recursive ones, embedded fields, bytes.
func makeFiller(t reflect.Type, inside map[reflect.Type]bool) filler {
	if inside[t] {
		return nil
	}
	inside[t] = true
	defer delete(inside, t)
	pointer := reflect.PointerTo(t)
	switch {
	case t == reflect.TypeFor[json.Number]():
		return fillNumber
	case t == reflect.TypeFor[time.Time](): // As its UnmarshalJSON does.
	case pointer.Implements(reflect.TypeFor[json.Unmarshaler]()):
		return nil
	}
	if pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
			return nil
		}
		return fillText
	}
	switch t.Kind() {
	case reflect.Bool:
		return fillBool
	case reflect.String:
		return fillString
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return fillInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fillUint
	case reflect.Float32, reflect.Float64:
		return fillFloat
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return fillAny
		}
	case reflect.Pointer:
		return fillPointer(t.Elem(), makeFiller(t.Elem(), inside))
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			return fillSlice(t, makeFiller(t.Elem(), inside))
		}
	case reflect.Map:
		if t.Key() == reflect.TypeFor[string]() {
			return fillMap(t, makeFiller(t.Elem(), inside))
		}
	case reflect.Struct:
		return fillStruct(t, inside)
	}
	return nil
}

func fillNumber(to reflect.Value, from any) bool {
	n, ok := from.(json.Number)
	if ok {
		to.SetString(strings.Clone(string(n)))
	}
	return ok || from == nil
}

func fillText(to reflect.Value, from any) bool {
	text, ok := from.(string)
	if !ok {
		return from == nil
	}
	u, ok := to.Addr().Interface().(encoding.TextUnmarshaler)
	return ok && u.UnmarshalText([]byte(text)) == nil
}

func fillBool(to reflect.Value, from any) bool {
	b, ok := from.(bool)
	if ok {
		to.SetBool(b)
	}
	return ok || from == nil
}

func fillString(to reflect.Value, from any) bool {
	s, ok := from.(string)
	if ok {
		to.SetString(strings.Clone(s)) // lest it keep all of the body
	}
	return ok || from == nil
}

func fillInt(to reflect.Value, from any) bool {
	n, ok := from.(json.Number)
	if !ok {
		return from == nil
	}
	i, err := strconv.ParseInt(string(n), 10, 64)
	if err != nil || to.OverflowInt(i) {
		return false
	}
	to.SetInt(i)
	return true
}

func fillUint(to reflect.Value, from any) bool {
	n, ok := from.(json.Number)
	if !ok {
		return from == nil
	}
	i, err := strconv.ParseUint(string(n), 10, 64)
	if err != nil || to.OverflowUint(i) {
		return false
	}
	to.SetUint(i)
	return true
}

func fillFloat(to reflect.Value, from any) bool {
	n, ok := from.(json.Number)
	if !ok {
		return from == nil
	}
	f, err := strconv.ParseFloat(string(n), to.Type().Bits())
	if err != nil || to.OverflowFloat(f) {
		return false
	}
	to.SetFloat(f)
	return true
}

func fillAny(to reflect.Value, from any) bool {
	v, ok := plain(from)
	if ok && v != nil {
		to.Set(reflect.ValueOf(v))
	}
	return ok
}

// plain copies a value, with numbers as float64.
func plain(from any) (any, bool) {
	switch from := from.(type) {
	case string:
		return strings.Clone(from), true
	case json.Number:
		f, err := strconv.ParseFloat(string(from), 64)
		return f, err == nil
	case []any:
		list := make([]any, len(from))
		for i, inner := range from {
			var ok bool
			if list[i], ok = plain(inner); !ok {
				return nil, false
			}
		}
		return list, true
	case map[string]any:
		object := make(map[string]any, len(from))
		for name, inner := range from {
			v, ok := plain(inner)
			if !ok {
				return nil, false
			}
			object[strings.Clone(name)] = v
		}
		return object, true
	}
	return from, true
}

func fillPointer(elem reflect.Type, fill filler) filler {
	if fill == nil {
		return nil
	}
	return func(to reflect.Value, from any) bool {
		if from == nil {
			return true
		}
		to.Set(reflect.New(elem))
		return fill(to.Elem(), from)
	}
}

func fillSlice(t reflect.Type, fill filler) filler {
	if fill == nil {
		return nil
	}
	return func(to reflect.Value, from any) bool {
		list, ok := from.([]any)
		if !ok {
			return from == nil
		}
		to.Set(reflect.MakeSlice(t, len(list), len(list)))
		for i, inner := range list {
			if !fill(to.Index(i), inner) {
				return false
			}
		}
		return true
	}
}

func fillMap(t reflect.Type, fill filler) filler {
	if fill == nil {
		return nil
	}
	return func(to reflect.Value, from any) bool {
		object, ok := from.(map[string]any)
		if !ok {
			return from == nil
		}
		to.Set(reflect.MakeMapWithSize(t, len(object)))
		for name, inner := range object {
			v := reflect.New(t.Elem()).Elem()
			if !fill(v, inner) {
				return false
			}
			to.SetMapIndex(reflect.ValueOf(strings.Clone(name)), v)
		}
		return true
	}
}

func isASCII(s []byte) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
