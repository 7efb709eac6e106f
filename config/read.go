package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/logistically/events"
)

// ReadEnv takes settings from an environment as os.Environ returns it, from the
// variables whose names begin with prefix and an underscore: EVENTS_URL,
// EVENTS_SUBSCRIBER_GROUP. Lists are written with commas, maps as "orders=8,audit=1",
// durations as "30s", sizes (fields that end in Bytes) as "16MiB". What is not there
// stays as it is; an empty value counts as not there.
//
// The error joins one *events.ConfigError for each variable that is wrong: a value
// that cannot be read, or a name with this prefix that is no setting, so that a
// misspelt one is not overlooked. Nothing is changed then. What Kubernetes sets for
// a service of that name (EVENTS_SERVICE_HOST, EVENTS_PORT_6379_TCP and so on) is
// left alone; choose another prefix if something else has it.
func (s *Settings) ReadEnv(prefix string, environ []string) error {
	if prefix == "" {
		return &events.ConfigError{Field: "config.Settings.ReadEnv prefix", Value: prefix, Problem: "is empty", Remedy: `use a name such as "EVENTS"`}
	}
	known := make(map[string]key, len(keys))
	for _, k := range keys {
		known[k.inEnv(prefix)] = k
	}
	c := s.change()
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, text, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, prefix+"_") || text == "" || kubernetes.MatchString(strings.TrimPrefix(name, prefix)) {
			continue
		}
		k, ok := known[name]
		if !ok {
			c.unknown(name, Keys(prefix), "or use another prefix for variables of other programs")
			continue
		}
		v, bad := k.parse(text)
		c.set(name, k, text, v, bad)
	}
	return c.apply(s)
}

// kubernetes matches what follows the name of a service in the variables that
// Kubernetes, and Docker's links before it, set for it.
var kubernetes = regexp.MustCompile(`^(_[A-Z0-9_]+)?(_SERVICE_HOST|_SERVICE_PORT(_.*)?|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// ReadFile takes settings from a JSON file. See [Settings.ReadJSON].
func (s *Settings) ReadFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := s.ReadJSON(bytes.NewReader(data)); err != nil {
		return fmt.Errorf("config: %s: %w", path, err)
	}
	return nil
}

// ReadJSON takes settings from a JSON object, one member for each of [Settings]:
//
//	{
//		"url": "redis://localhost:6379/0",
//		"subscriber": {"group": "mailer", "lease": "1m"},
//		"router": {"topics": ["user-events"], "concurrency": 32, "weights": {"user-events": 8}},
//		"batching": {"maxBytes": "512KiB"}
//	}
//
// What is not there, or null, stays as it is. Errors are as those of
// [Settings.ReadEnv].
func (s *Settings) ReadJSON(r io.Reader) error {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	var members map[string]any
	if err := dec.Decode(&members); err != nil {
		return fmt.Errorf("config: settings must be one JSON object: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("config: settings must be one JSON object: there is something after it")
	}
	known := make(map[string]key, len(keys))
	for _, k := range keys {
		known[k.inFile()] = k
	}
	c := s.change()
	c.readMembers("", members, known)
	return c.apply(s)
}

func (c *change) readMembers(at string, members map[string]any, known map[string]key) {
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		value, name := members[name], at+name
		k, ok := known[name]
		inner, nested := value.(map[string]any)
		switch {
		case value == nil && ok:
		case ok:
			v, bad := k.parseJSON(value)
			c.set(name, k, value, v, bad)
		case nested && slices.ContainsFunc(keys, func(k key) bool { return strings.HasPrefix(k.inFile(), name+".") }):
			c.readMembers(name+".", inner, known)
		default:
			c.unknown(name, Keys(""), "or remove it")
		}
	}
}

// parseJSON makes a JSON value one of the key's type.
func (k key) parseJSON(value any) (reflect.Value, *invalid) {
	kind := k.typ.Kind()
	switch v := value.(type) {
	case string:
		if kind != reflect.Slice && kind != reflect.Map && kind != reflect.Bool {
			return k.parse(v)
		}
	case json.Number:
		if kind != reflect.String {
			return k.parse(v.String()) // which refuses a duration without unit
		}
	case bool:
		if kind == reflect.Bool {
			return reflect.ValueOf(v), nil
		}
	case []any:
		texts := make([]string, len(v))
		for i, item := range v {
			texts[i], _ = item.(string) // What is none is refused as empty.
		}
		if kind == reflect.Slice {
			return k.list(texts)
		}
	case map[string]any:
		pairs := make(map[string]string, len(v))
		for name, item := range v {
			pairs[name] = fmt.Sprint(item)
		}
		if kind == reflect.Map {
			return k.table(pairs)
		}
	}
	return reflect.Value{}, &invalid{"is of another kind", "set it to " + wanted(k.typ)}
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return `an array of strings, such as ["user-events"]`
	case reflect.Map:
		return `an object with numbers, such as {"user-events": 8}`
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	}
	return "a number or a string"
}

// change collects what is to be set; nothing is if something is wrong.
type change struct {
	next Settings
	errs []error
}

func (s *Settings) change() *change { return &change{next: *s} }

func (c *change) set(name string, k key, given any, v reflect.Value, bad *invalid) {
	if bad != nil {
		if k.typ == reflect.TypeFor[URL]() {
			given = "[a URL]"
		}
		c.errs = append(c.errs, &events.ConfigError{Field: name, Value: given, Problem: bad.problem, Remedy: bad.remedy})
		return
	}
	reflect.ValueOf(&c.next).Elem().FieldByIndex(k.index).Set(v)
}

// unknown refuses a name that is no setting. Its value is not shown: who knows
// what it is.
func (c *change) unknown(name string, names []string, otherwise string) {
	remedy := "docs/CONFIGURATION.md lists them; " + otherwise
	if like := nearest(name, names); like != "" {
		remedy = "did you mean " + like + "? " + remedy
	}
	c.errs = append(c.errs, &events.ConfigError{Field: name, Value: "[not shown]", Problem: "is no setting", Remedy: remedy})
}

func (c *change) apply(s *Settings) error {
	if len(c.errs) > 0 {
		return errors.Join(c.errs...)
	}
	*s = c.next
	return nil
}
