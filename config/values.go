package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/router"
)

// named are the types whose values have names, each under the name by which
// settings call it.
var named = map[reflect.Type]map[string]any{
	reflect.TypeFor[events.ValidationMode](): {"strict": events.Strict, "warn": events.Warn, "ignore": events.Ignore},
	reflect.TypeFor[router.UnknownPolicy]():  {"dead-letter": router.DeadLetterUnknown, "ack": router.AckUnknown},
	reflect.TypeFor[batching.Mode]():         {"wait": batching.Wait, "buffered": batching.Buffered},
	reflect.TypeFor[batching.FullPolicy]():   {"wait": batching.WaitForRoom, "error": batching.ErrorWhenFull},
}

// settable reports whether text can be made a value of a type.
func settable(t reflect.Type) bool {
	if named[t] != nil || t == reflect.TypeFor[time.Duration]() {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float64:
		return true
	case reflect.Int, reflect.Int64:
		return t.PkgPath() == "" // Others mean something that a number does not say.
	case reflect.Slice:
		return t.Elem().Kind() == reflect.String
	case reflect.Map:
		return t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.Int
	}
	return false
}

// invalid says what is wrong with a value and what to do.
type invalid struct{ problem, remedy string }

func (e *invalid) Error() string { return e.problem }

// parse makes text a value of a key's type.
func (k key) parse(text string) (v reflect.Value, err *invalid) {
	v = reflect.New(k.typ).Elem()
	if values := named[k.typ]; values != nil {
		value, ok := values[text]
		if !ok {
			return v, &invalid{"is none of its values", "use " + strings.Join(slices.Sorted(maps.Keys(values)), " or ")}
		}
		return reflect.ValueOf(value), nil
	}
	switch {
	case k.typ == reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		if err != nil {
			return v, &invalid{"is no duration", `set it to numbers with units, such as "30s", "1m30s" or "250ms"`}
		}
		v.SetInt(int64(d))
	case k.typ.Kind() == reflect.String:
		v.SetString(text)
	case k.typ.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return v, &invalid{"is no switch", "set it to true or false"}
		}
		v.SetBool(b)
	case k.typ.Kind() == reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return v, &invalid{"is no number", "set it to a number such as 0.5"}
		}
		v.SetFloat(f)
	case strings.HasSuffix(k.path[len(k.path)-1], "Bytes"):
		n, err := parseSize(text)
		if err != nil || v.OverflowInt(n) {
			return v, &invalid{"is no size", `set it to a number of bytes with or without a unit, such as "16MiB", "64KiB" or "1048576"`}
		}
		v.SetInt(n)
	case v.CanInt():
		n, err := strconv.ParseInt(text, 10, k.typ.Bits())
		if err != nil {
			return v, &invalid{"is no whole number", "set it to a number such as 16"}
		}
		v.SetInt(n)
	case k.typ.Kind() == reflect.Slice:
		return k.list(split(text))
	default:
		pairs := map[string]string{}
		for _, pair := range split(text) {
			name, number, _ := strings.Cut(pair, "=")
			if _, twice := pairs[name]; twice {
				return v, &invalid{"names something twice", `set each name once, such as "orders=8,audit=1"`}
			}
			pairs[strings.TrimSpace(name)] = strings.TrimSpace(number)
		}
		return k.table(pairs)
	}
	return v, nil
}

// list makes texts a slice of the key's type.
func (k key) list(texts []string) (v reflect.Value, err *invalid) {
	if slices.Contains(texts, "") {
		return v, &invalid{"has an empty name in it", `set it to names with commas between them, such as "user-events,order-events"`}
	}
	v = reflect.MakeSlice(k.typ, 0, len(texts))
	for _, text := range texts {
		v = reflect.Append(v, reflect.ValueOf(text).Convert(k.typ.Elem()))
	}
	return v, nil
}

// table makes pairs a map of the key's type.
func (k key) table(pairs map[string]string) (v reflect.Value, err *invalid) {
	v = reflect.MakeMap(k.typ)
	for name, text := range pairs {
		n, perr := strconv.ParseInt(text, 10, 0)
		if perr != nil || name == "" {
			return v, &invalid{"is no list of names with whole numbers", `set it to pairs such as "orders=8,audit=1"`}
		}
		v.SetMapIndex(reflect.ValueOf(name).Convert(k.typ.Key()), reflect.ValueOf(int(n)).Convert(k.typ.Elem()))
	}
	return v, nil
}

// split returns what is between commas; nothing if there is nothing.
func split(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

var units = map[string]int64{
	"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}

// parseSize reads a number of bytes.
func parseSize(text string) (int64, error) {
	digits := strings.TrimRight(text, "BKMGi")
	unit, ok := units[text[len(digits):]]
	if !ok {
		return 0, errors.New("no such unit")
	}
	n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
	if err != nil {
		return 0, err
	}
	if n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return 0, fmt.Errorf("%s is too large", text)
	}
	return n * unit, nil
}
