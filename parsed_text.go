package events

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"sync"
	"unicode/utf8"

	"github.com/logistically/events/internal/jsontext"
)

// decodeText sets to, a pointer to a zero struct, from a JSON object. encoding/json
// reads every byte of it twice, and one by one; here what no field wants is skipped.
// It returns false for other types, and if it cannot do as encoding/json does: then to
// may be half set.
func decodeText(text []byte, to any) bool {
	v := reflect.ValueOf(to).Elem()
	if v.Kind() != reflect.Struct {
		return false
	}
	read := textReaderOf(v.Type())
	return read != nil && read(v, text)
}

// textReader sets a zero value of a Go type from the text of a JSON value, as a filler
// does from a parsed one. The text is valid, without white space around it; that of the
// outermost object may be anything.
type textReader func(to reflect.Value, text []byte) bool

var textReaders sync.Map // of reflect.Type of a struct to textReader, nil where there is none

func textReaderOf(t reflect.Type) textReader {
	if known, ok := textReaders.Load(t); ok {
		return known.(textReader)
	}
	r := makeStructReader(t, map[reflect.Type]bool{t: true})
	textReaders.Store(t, r)
	return r
}

// makeStructReader returns nil for a struct that has to be left to encoding/json.
func makeStructReader(t reflect.Type, inside map[reflect.Type]bool) textReader {
	pointer := reflect.PointerTo(t)
	if pointer.Implements(reflect.TypeFor[json.Unmarshaler]()) || pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	of, ok := fieldsOf(t)
	if !ok {
		return nil
	}
	readers := make([]textReader, len(of.fields))
	for i, f := range of.fields {
		readers[i] = makeTextReader(t.Field(f.index).Type, inside)
	}
	return func(to reflect.Value, text []byte) bool {
		alike := true
		object := jsontext.RawMembers(text, func(name, value []byte) {
			at := of.find(name)
			switch {
			case !alike:
			case at < 0: // An escape may hide any name.
				alike = bytes.IndexByte(name, '\\') < 0 && !of.otherSpelling(name)
			default: // If that comes twice, it is set on top, as encoding/json does.
				alike = readers[at](to.Field(of.fields[at].index), value)
			}
		})
		return object && alike
	}
}

// makeTextReader leaves to encoding/json what is not in here, and a type inside itself.
func makeTextReader(t reflect.Type, inside map[reflect.Type]bool) textReader {
	if inside[t] {
		return readStandard
	}
	inside[t] = true
	defer delete(inside, t)
	switch {
	case t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		return func(to reflect.Value, text []byte) bool {
			u, ok := to.Addr().Interface().(json.Unmarshaler)
			return ok && u.UnmarshalJSON(text) == nil
		}
	case t.Kind() == reflect.Struct:
		if read := makeStructReader(t, inside); read != nil {
			return func(to reflect.Value, text []byte) bool { return text[0] == 'n' || read(to, text) }
		}
	case t.Kind() == reflect.Pointer:
		return pointerReader(t.Elem(), makeTextReader(t.Elem(), inside))
	case t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8 && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return sliceReader(makeTextReader(t.Elem(), inside))
	case t.Kind() == reflect.String && t != reflect.TypeFor[json.Number]() && !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return readString
	case t.Kind() != reflect.Interface && t.Kind() != reflect.Slice && t.Kind() != reflect.Map:
		if fill := makeFiller(t, map[reflect.Type]bool{}); fill != nil {
			return func(to reflect.Value, text []byte) bool {
				value, ok := scalarOf(text)
				return ok && fill(to, value)
			}
		}
	}
	return readStandard
}

func readStandard(to reflect.Value, text []byte) bool {
	return json.Unmarshal(text, to.Addr().Interface()) == nil
}

func pointerReader(elem reflect.Type, read textReader) textReader {
	return func(to reflect.Value, text []byte) bool {
		if text[0] == 'n' {
			to.SetZero()
			return true
		}
		if to.IsNil() {
			to.Set(reflect.New(elem))
		}
		return read(to.Elem(), text)
	}
}

func sliceReader(read textReader) textReader {
	return func(to reflect.Value, text []byte) bool {
		if text[0] == 'n' {
			to.SetZero()
			return true
		}
		if !to.IsNil() {
			return false // encoding/json would set what is there again, on top.
		}
		to.Set(reflect.MakeSlice(to.Type(), 0, 0))
		alike := true
		array := jsontext.Elements(text, func(value []byte) {
			if alike {
				n := to.Len()
				to.Grow(1)
				to.SetLen(n + 1)
				alike = read(to.Index(n), value)
			}
		})
		return array && alike
	}
}

func readString(to reflect.Value, text []byte) bool {
	s, ok := jsontext.Text(text)
	if ok {
		to.SetString(s)
	}
	return ok && utf8.Valid(text) || text[0] == 'n'
}

// scalarOf returns the value of a text as [ParsingValidator] would, unless that is an
// array or an object, or no UTF-8.
func scalarOf(text []byte) (value any, ok bool) {
	switch text[0] {
	case '{', '[':
		return nil, false
	case 'n':
		return nil, true
	case 't', 'f':
		return text[0] == 't', true
	case '"':
		if !utf8.Valid(text) {
			return nil, false
		}
		return jsontext.Text(text)
	}
	return json.Number(text), true
}
