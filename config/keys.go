package config

import (
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// key is a setting: a path of field names in Settings.
type key struct {
	path  []string
	index []int // as reflect.Value.FieldByIndex takes it
	typ   reflect.Type
}

// keys are all settings, in the order of their fields.
var keys = keysOf(reflect.TypeFor[Settings](), nil, nil)

// Keys returns the names of all settings, in the order of their fields in
// [Settings]: in the environment, beginning with prefix, or, if that is empty, in a
// file, with dots between the names of nested members.
func Keys(prefix string) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		if names[i] = k.inFile(); prefix != "" {
			names[i] = k.inEnv(prefix)
		}
	}
	return names
}

func keysOf(t reflect.Type, path []string, index []int) (found []key) {
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() {
			continue
		}
		k := key{path: append(slices.Clone(path), f.Name), index: append(slices.Clone(index), i), typ: f.Type}
		switch {
		case settable(f.Type):
			found = append(found, k)
		case f.Type.Kind() == reflect.Struct:
			found = append(found, keysOf(f.Type, k.path, k.index)...)
		}
	}
	return found
}

// inEnv returns a key's name in the environment: EVENTS_ROUTER_MAX_IN_FLIGHT.
func (k key) inEnv(prefix string) string {
	name := prefix
	for _, field := range k.path {
		for _, word := range words(field) {
			name += "_" + strings.ToUpper(word)
		}
	}
	return name
}

// inFile returns a key's name in a file: router.maxInFlight.
func (k key) inFile() string {
	parts := make([]string, len(k.path))
	for i, field := range k.path {
		w := words(field)
		w[0] = strings.ToLower(w[0])
		parts[i] = strings.Join(w, "")
	}
	return strings.Join(parts, ".")
}

// words splits a field's name: MaxInFlight into Max, In, Flight; URLPath into URL, Path.
func words(name string) (list []string) {
	runes := []rune(name)
	begin := 0
	for i := 1; i < len(runes); i++ {
		upper := unicode.IsUpper(runes[i])
		after := unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])
		if upper && after {
			list = append(list, string(runes[begin:i]))
			begin = i
		}
	}
	return append(list, string(runes[begin:]))
}

// nearest returns the name that is most like one that does not exist, or "".
func nearest(name string, names []string) (best string) {
	least := max(len(name)/4, 2) + 1
	for _, n := range names {
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least {
			least, best = d, n
		}
	}
	return best
}

// distance is that of Levenshtein.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
