package validation_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/validation"
)

// Whatever is passed, the answer is an error that says what is wrong, soon.
func TestBadInputGivesAClearError(t *testing.T) {
	var got strings.Builder
	say := func(name string, err error) {
		text := "NO ERROR"
		if err != nil {
			text = strings.ReplaceAll(err.Error(), "\n", "\n    ")
		}
		fmt.Fprintf(&got, "%s\n    %s\n", name, text)
	}
	r := newRegistry(t, validation.Config{})
	for _, c := range [][2]string{
		{"schema is no JSON", `{"type":`},
		{"schema of an unknown type", `{"type":"strnig"}`},
		{"schema of an unknown draft", `{"$schema":"https://example.com/draft"}`},
		{"schema is a list", `[]`},
		{"negative length", `{"maxLength":-1}`},
		{"$ref to nothing", `{"$ref":"#/definitions/nothing"}`},
		{"$ref to the network", `{"$ref":"https://example.com/user.json"}`},
		{"$ref to a file", `{"$ref":"file:///etc/passwd"}`},
		{"$ref to a neighbour", `{"$ref":"user.json"}`},
		{"pattern that is none", `{"pattern":"("}`},
		{"pattern with lookahead", `{"pattern":"^(?=.*a)b$"}`},
		{"pattern with backreference", `{"pattern":"(a)\\1"}`},
		{"pattern that explodes", `{"pattern":"((a{100}){100}){100}"}`},
		{"schema with a name twice", `{"type":"object","type":"array"}`},
		{"schema too deep", nested(300, "")},
		{"circular $ref", `{"$ref":"#"}`},
		{"circular $ref of two", `{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"allOf":[{"$ref":"#/$defs/a"}]}},"properties":{"x":{"$ref":"#/$defs/a"}}}`},
	} {
		say(c[0], r.AddSchema("a.b", []byte(c[1])))
	}
	for _, c := range [][3]string{
		{"a million brackets", `{}`, strings.Repeat("[", 1_000_000)},
		{"a million objects", `{}`, strings.Repeat(`{"a":`, 1_000_000)},
		{"invalid UTF-8", `{}`, "{\"a\":[1,\"\xc3\x28\"]}"},
		{"invalid UTF-8 in a name", `{}`, "{\"\xff\":1}"},
		{"UTF-16", `{}`, "\xff\xfe{\x00}\x00"},
		{"byte order mark", `{}`, "\ufeff{}"},
		{"names twice", `{}`, `{"a":{"b":1,"c":2,"b":3}}`},
		{"NaN", `{}`, `{"a":NaN}`},
		{"Infinity", `{}`, `[-Infinity]`},
		{"huge exponent", `{"type":"integer"}`, `{"a":1e999999999}`},
		{"control character", `{}`, "\"a\nb\""},
		{"half an escape", `{}`, `"\u12`},
		{"trailing comma", `{}`, `[1,]`},
		{"nothing", `{}`, ``},
		{"zero bytes", `{}`, "\x00\x00"},
	} {
		err := registryOf(t, c[1]).Validate(t.Context(), "a.b", []byte(c[2]))
		if _, ok := errors.AsType[*events.ValidationError](err); !ok {
			t.Errorf("%s is no verdict: %v", c[0], err)
		}
		say(c[0], err)
	}
	r = registryOf(t, `{}`)
	say("100 MB", r.Validate(t.Context(), "a.b", bytes.Repeat([]byte("["), 100<<20)))
	_, err := validation.NewRegistry(validation.Config{MaxBytes: -1})
	say("negative size", err)
	if strings.Contains(got.String(), "NO ERROR") {
		t.Error("something bad was accepted")
	}
	golden(t, "badinput", got.String())
}

// A pattern that takes other engines for ever takes time linear in the text.
func TestPatternsTakeLinearTime(t *testing.T) {
	r := registryOf(t, `{"pattern":"^(a+)+$"}`)
	if f := findings(t, r, `"`+strings.Repeat("a", 100_000)+`!"`); len(f) != 1 || f[0].Rule != "pattern" {
		t.Errorf("%v", f)
	}
}

func TestECMAEscapesAreUnderstood(t *testing.T) {
	for pattern, c := range map[string][2]string{
		`^\\u00e9$`:              {`"é"`, `"e"`},
		`^\\u{1F600}$`:           {`"😀"`, `"u"`},
		`^[\\u0430-\\u044f]+$`:   {`"слово"`, `"word"`},
		`^\\\\u0041$`:            {`"\\u0041"`, `"A"`},
		`^\\d{2}\\/\\w+\\.\\S$`:  {`"12/ab.c"`, `"ab/12.c"`},
		`^\\p{Lu}\\p{Ll}*(?:x)?`: {`"Éa"`, `"éa"`},
	} {
		r := registryOf(t, `{"pattern":"`+pattern+`"}`)
		if f := findings(t, r, c[0]); f != nil {
			t.Errorf("%s: %v", pattern, f)
		}
		if f := findings(t, r, c[1]); len(f) != 1 {
			t.Errorf("%s accepts %s", pattern, c[1])
		}
	}
}
