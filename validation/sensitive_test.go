package validation_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/logistically/events"
)

// Where a value is sensitive, no finding holds a part of it, wherever the
// schema says so.
func TestSensitiveValuesAreNotInFindings(t *testing.T) {
	const secret = "hunter2"
	for name, c := range map[string]struct{ schema, body, pointer string }{
		"its own":       {`{"properties":{"p":{"x-sensitive":true,"pattern":"^x$"}}}`, `{"p":"hunter2"}`, "/p"},
		"enum":          {`{"properties":{"p":{"x-sensitive":true,"enum":["a"]}}}`, `{"p":"hunter2"}`, "/p"},
		"type":          {`{"properties":{"p":{"x-sensitive":true,"type":"number"}}}`, `{"p":"hunter2"}`, "/p"},
		"format":        {`{"properties":{"p":{"x-sensitive":true,"format":"email"}}}`, `{"p":"hunter2"}`, "/p"},
		"inside":        {`{"properties":{"p":{"x-sensitive":true,"properties":{"q":{"pattern":"^x$"}}}}}`, `{"p":{"q":"hunter2"}}`, "/p"},
		"names":         {`{"properties":{"p":{"x-sensitive":true,"additionalProperties":{"type":"number"}}}}`, `{"p":{"hunter2":"x"}}`, "/p"},
		"unknown names": {`{"properties":{"p":{"x-sensitive":true,"additionalProperties":false}}}`, `{"p":{"hunter2":"x"}}`, "/p"},
		"name rules":    {`{"properties":{"p":{"x-sensitive":true,"propertyNames":{"maxLength":3}}}}`, `{"p":{"hunter2":"x"}}`, "/p"},
		"other branch":  {`{"allOf":[{"properties":{"p":{"x-sensitive":true}}},{"properties":{"p":{"pattern":"^x$"}}}]}`, `{"p":"hunter2"}`, "/p"},
		"behind $ref":   {`{"$defs":{"s":{"x-sensitive":true,"pattern":"^x$"}},"properties":{"p":{"$ref":"#/$defs/s"}}}`, `{"p":"hunter2"}`, "/p"},
		"beside $ref":   {`{"$defs":{"s":{"pattern":"^x$"}},"properties":{"p":{"$ref":"#/$defs/s","x-sensitive":true}}}`, `{"p":"hunter2"}`, "/p"},
		"draft-07":      {`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"s":{"pattern":"^x$"}},"properties":{"p":{"$ref":"#/definitions/s","x-sensitive":true}}}`, `{"p":"hunter2"}`, "/p"},
		"items":         {`{"items":{"x-sensitive":true,"pattern":"^x$"}}`, `["x","hunter2"]`, "/1"},
		"odd name":      {`{"properties":{"a/b ~%c":{"x-sensitive":true,"pattern":"^x$"}}}`, `{"a/b ~%c":"hunter2"}`, "/a~1b ~0%c"},
		"patterns":      {`{"patternProperties":{"^p":{"x-sensitive":true,"pattern":"^x$"}}}`, `{"p1":"hunter2"}`, "/p1"},
		"whole body":    {`{"x-sensitive":true,"const":1}`, `"hunter2"`, ""},
		"unique":        {`{"properties":{"p":{"x-sensitive":true,"uniqueItems":true}}}`, `{"p":["hunter2","hunter2"]}`, "/p"},
	} {
		f := findings(t, registryOf(t, c.schema), c.body)
		if len(f) != 1 || f[0].Pointer != c.pointer || f[0].Value != "[redacted]" {
			t.Errorf("%s: %+v", name, f)
		}
		err := &events.ValidationError{Type: "a.b", Findings: f}
		if strings.Contains(fmt.Sprintf("%+v %v", f, err), secret) {
			t.Errorf("%s: the secret is in %v", name, err)
		}
	}
}

func TestValuesBesideSensitiveOnesAreShown(t *testing.T) {
	r := registryOf(t, `{"properties":{"p":{"x-sensitive":true},"q":{"type":"string","enum":["a"]}}}`)
	f := findings(t, r, `{"p":"hunter2","q":"b"}`)
	if len(f) != 1 || f[0].Value != `"b"` {
		t.Errorf("%+v", f)
	}
}

// What a finding says is a promise: people search their logs for it.
func TestFindingsAreStable(t *testing.T) {
	const schema = `{
		"type": "object", "required": ["a", "b"], "additionalProperties": false, "maxProperties": 13,
		"properties": {
			"a": {"type": "string"}, "b": {"type": ["string", "null"]}, "text": {"minLength": 3, "maxLength": 5, "pattern": "^[a-z]*$"},
			"mail": {"format": "email"}, "date": {"format": "date-time"}, "uri": {"format": "uri"},
			"enum": {"enum": ["on", "off"]}, "const": {"const": 1}, "number": {"minimum": 10, "multipleOf": 4},
			"open": {"exclusiveMaximum": 1}, "list": {"maxItems": 1, "uniqueItems": true, "items": {"type": "integer"}},
			"one": {"oneOf": [{"type": "string"}, {"type": "integer"}]}, "any": {"anyOf": [{"type": "boolean"}, {"minimum": 5}]},
			"not": {"not": {"type": "null"}}, "never": false, "secret": {"type": "string", "x-sensitive": true},
			"names": {"propertyNames": {"pattern": "^x"}}, "has": {"contains": {"const": 1}}, "if": {"if": {"type": "string"}, "then": {"minLength": 2}},
			"needs": {"dependentRequired": {"x": ["y"]}}
		}
	}`
	r := registryOf(t, schema)
	var got strings.Builder
	for _, body := range []string{
		`[]`,
		`{}`,
		`{"a":1,"b":true,"h":1,"g":2,"f":3,"e":4,"d":5,"c":6}`,
		`{"a":"","b":null,"text":"AB"}`,
		`{"a":"","b":null,"text":"abcdef"}`,
		`{"a":"","b":null,"mail":"ada","date":"2026-02-30T00:00:00Z","uri":"no uri"}`,
		`{"a":"","b":null,"enum":"On","const":"1","number":7,"open":1}`,
		`{"a":"","b":null,"list":[1,"2",1]}`,
		`{"a":"","b":null,"one":true,"any":3,"not":null,"never":0}`,
		`{"a":"","b":null,"secret":12345678}`,
		`{"a":"","b":null,"names":{"y":1},"has":[2,3],"if":"x","needs":{"x":1}}`,
		`{"a":{"x":1},"b":[1,2],"enum":"` + strings.Repeat("é", 100) + `"}`,
	} {
		fmt.Fprintf(&got, "%.80s\n", body)
		for _, f := range findings(t, r, body) {
			fmt.Fprintf(&got, "    %q %s: %s | %s\n", f.Pointer, f.Rule, f.Message, f.Value)
		}
		fmt.Fprintf(&got, "    %v\n", r.Validate(t.Context(), "a.b", []byte(body)))
	}
	golden(t, "findings", got.String())
}
