package validation_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/validation"
)

// registryOf knows one type, "a.b".
func registryOf(tb testing.TB, schema string) *validation.Registry {
	tb.Helper()
	r := newRegistry(tb, validation.Config{})
	if err := r.AddSchema("a.b", []byte(schema)); err != nil {
		tb.Fatal(err)
	}
	return r
}

// findings are those of a body; none if it is valid. Another error is fatal.
func findings(tb testing.TB, r *validation.Registry, body string) []events.Finding {
	tb.Helper()
	err := r.Validate(tb.Context(), "a.b", []byte(body))
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*events.ValidationError](err)
	if !ok || len(invalid.Findings) == 0 {
		tb.Fatalf("no verdict: %v", err)
	}
	return invalid.Findings
}

func nested(depth int, inner string) string {
	return strings.Repeat("[", depth) + inner + strings.Repeat("]", depth)
}

func TestNumbersThatCostSecondsAreRefused(t *testing.T) {
	for _, schema := range []string{`{}`, `{"type":"integer"}`, `{"minimum":0}`, `{"multipleOf":0.01}`, `{"enum":[1]}`, `{"const":1}`} {
		r := registryOf(t, schema)
		for _, number := range []string{"1e401", "1E+401", "1e-401", "-1e2000000", "1e-2000000", "1e9999999999999999999", strings.Repeat("1", 1001)} {
			if f := findings(t, r, number); len(f) != 1 || f[0].Rule != "json" {
				t.Errorf("schema %s, %.30s: %v", schema, number, f)
			}
		}
	}
	r := registryOf(t, `{"items":{"type":"number"}}`)
	if f := findings(t, r, `[1e400, 1E-400, -1.5e+0000003, 0, `+strings.Repeat("1", 1000)+`, true, false]`); len(f) != 2 {
		t.Errorf("want the faults of true and false alone: %v", f)
	}
	if f := findings(t, r, `[[{"a/b":1e401}]]`); f[0].Pointer != "/0/0/a~1b" {
		t.Errorf("it is not said where: %v", f)
	}
}

func TestNestingThatCostsSecondsIsRefused(t *testing.T) {
	r := registryOf(t, `{"anyOf":[{"type":"array","items":{"$ref":"#"}},{"type":"object"}]}`)
	for body, rule := range map[string]string{
		nested(256, ""):                     "",
		nested(255, "{}"):                   "",
		nested(257, ""):                     "json",
		nested(256, "{}"):                   "json",
		nested(9990, "1"):                   "json",
		strings.Repeat(`{"a":`, 257) + `{}`: "json", // not even closed
	} {
		f := findings(t, r, body)
		if rule == "" && f != nil || rule != "" && (len(f) != 1 || f[0].Rule != rule) {
			t.Errorf("%.20s of %d bytes: %v", body, len(body), f)
		}
	}
}

func TestNamesThatOccurTwiceAreRefused(t *testing.T) {
	r := registryOf(t, `{"properties":{"user":{"properties":{"role":{"const":"guest"}}}}}`)
	for body, want := range map[string]string{
		`{"user":{"role":"admin"},"user":{}}`:               "/user",
		`{"user":{"role":"admin","r\u006fle":"guest"}}`:     "/user/role",
		`[{"x":1},{"x":1,"y":{"x":1}},{"a":{"":1,"":2}}]`:   "/2/a/",
		`{"\ud800":1,"\ud801":2}`:                           "/\ufffd", // both decode to this name
		`{"a":1,"a":2,"a":3}`:                               "/a",
		`{"a":"\":{","b\\":":","c":[{"a":":"}],"A":1}`:      "",
		`{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1},{"a":1}]}`: "",
	} {
		f := findings(t, r, body)
		if want == "" && f != nil || want != "" && (len(f) != 1 || f[0].Pointer != want || f[0].Rule != "json") {
			t.Errorf("%s: got %v, want %q", body, f, want)
		}
	}
}

// Names that differ in case only are two names to a schema and one to
// encoding/json; AddSchema says what to do about it.
func TestASchemaThatIsClosedKnowsNoOtherSpelling(t *testing.T) {
	const body = `{"amount":1,"AMOUNT":999}`
	if f := findings(t, registryOf(t, `{"properties":{"amount":{"maximum":100}}}`), body); f != nil {
		t.Errorf("open: %v", f)
	}
	if f := findings(t, registryOf(t, `{"properties":{"amount":{"maximum":100}},"additionalProperties":false}`), body); len(f) != 1 {
		t.Errorf("closed: %v", f)
	}
}

func TestASchemaIsHeldToTheSameText(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	for schema, want := range map[string]string{
		`{"minimum":1e2000000}`:                     "at /minimum: a number has",
		`{"type":"object","type":"array"}`:          "at /type: the object has this name more than once",
		`{"allOf":` + nested(300, "") + `}`:         "more than 256",
		`{"properties":{"a":{},"\u0061":{"not":{}}`: "it ends at byte",
	} {
		err := r.AddSchema("a.b", []byte(schema))
		if _, ok := errors.AsType[*events.ConfigError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
