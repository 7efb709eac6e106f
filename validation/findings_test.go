package validation_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/logistically/events"
	"github.com/logistically/events/validation"
)

func TestFindingsStaySmallWhateverTheBody(t *testing.T) {
	const million = 1 << 20
	for name, c := range map[string]struct {
		schema, body string
		found        int // 101: one hundred, and how many more
	}{
		"long value":   {`{"properties":{"a":{"pattern":"^x$"}}}`, `{"a":"` + strings.Repeat("é", million/2) + `"}`, 1},
		"long name":    {`{"additionalProperties":{"items":{"type":"string"}}}`, `{"` + strings.Repeat("é", million/2) + `":[1]}`, 1},
		"many names":   {`{"additionalProperties":false}`, `{` + strings.Join(numbered(`"name%d":1`, 20_000), ",") + `}`, 1},
		"many values":  {`{"items":{"type":"string"}}`, `[1` + strings.Repeat(",1", 50_000) + `]`, 101},
		"many numbers": {`{}`, `[1` + strings.Repeat(",1e999999", 50_000) + `]`, 101},
		"many twice":   {`{}`, `{"x":1,` + strings.Join(numbered(`"%[1]d":1,"%[1]d":1`, 20_000), ",") + `}`, 101},
		"just 100":     {`{"items":{"type":"string"}}`, `[1` + strings.Repeat(",1", 99) + `]`, 100},
	} {
		t.Run(name, func(t *testing.T) {
			f := findings(t, registryOf(t, c.schema), c.body)
			if len(f) != c.found {
				t.Errorf("%d findings, want %d", len(f), c.found)
			}
			for _, f := range f {
				if len(f.Pointer) > 512 || len(f.Message) > 1024 || !utf8.ValidString(f.Pointer+f.Message) {
					t.Fatalf("a pointer of %d bytes, a message of %d: %q %q", len(f.Pointer), len(f.Message), f.Pointer, f.Message)
				}
			}
		})
	}
}

func numbered(format string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

func TestFindingsThatAreLeftOutAreCounted(t *testing.T) {
	f := findings(t, registryOf(t, `{"items":{"type":"string"}}`), `[1`+strings.Repeat(",1", 1499)+`]`)
	if last := f[len(f)-1]; last.Rule != "findings" || last.Message != "1400 more findings are not listed" {
		t.Errorf("the last is %+v", last)
	}
	// What several branches say is said once, and leaves nothing out.
	branches := strings.Join(numbered(`{"type":"string","title":"%d"}`, 300), ",")
	if f := findings(t, registryOf(t, `{"anyOf":[`+branches+`]}`), `1`); len(f) != 1 {
		t.Errorf("%v", f)
	}
}

// A body of 1 MB took 20 s and 5 GB, since the path of each fault is as long as
// its depth.
func TestWideAndDeepBodiesGetAVerdictWithoutDetails(t *testing.T) {
	wide := nested(200, `1`+strings.Repeat(`,"x"`, 2000))
	for name, schema := range map[string]string{
		"2020-12": `{"$id":"https://example.com/x","anyOf":[{"type":"array","items":{"$ref":"#"}},{"type":"string"},{"type":"%s"}]}`,
		"2019-09": `{"$schema":"https://json-schema.org/draft/2019-09/schema","$recursiveAnchor":true,"anyOf":[{"type":"array","items":{"$recursiveRef":"#"}},{"type":"string"},{"type":"%s"}]}`,
		"draft-4": `{"$schema":"http://json-schema.org/draft-04/schema#","anyOf":[{"type":"array","items":{"$ref":"#"}},{"type":"string"},{"type":"%s"}]}`,
	} {
		if f := findings(t, registryOf(t, fmt.Sprintf(schema, "boolean")), wide); len(f) != 1 || f[0].Rule != "schema" {
			t.Errorf("%s, not valid: %v", name, f)
		}
		if f := findings(t, registryOf(t, fmt.Sprintf(schema, "number")), wide); f != nil {
			t.Errorf("%s, valid: %v", name, f)
		}
	}
}

func TestWhatAFunctionRefusesIsRefusedWithAFinding(t *testing.T) {
	for name, c := range map[string]struct {
		said error
		want string
	}{
		"no findings":   {&events.ValidationError{Type: "a.b"}, `event "a.b" is not valid: at body: event "a.b" is not valid (check)`},
		"wrapped":       {fmt.Errorf("user: %w", &events.ValidationError{Type: "a.b"}), `event "a.b" is not valid: at body: user: event "a.b" is not valid (check)`},
		"own findings":  {&events.ValidationError{Findings: []events.Finding{{Pointer: "/a", Rule: "r", Message: "m"}}}, `event "a.b" is not valid: at /a: m (r)`},
		"long findings": {&events.ValidationError{Findings: []events.Finding{{Pointer: "/a", Rule: "r", Message: strings.Repeat("m", 2000)}}}, `event "a.b" is not valid: at /a: ` + strings.Repeat("m", 1021) + `… (r)`},
	} {
		r := newRegistry(t, validation.Config{})
		if err := r.AddFunc("a.b", "check", func(context.Context, []byte) error { return c.said }); err != nil {
			t.Fatal(err)
		}
		if err := r.Validate(t.Context(), "a.b", []byte(`{}`)); err == nil || err.Error() != c.want {
			t.Errorf("%s: got  %v\nwant %s", name, err, c.want)
		}
	}
}
