package events_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/internal/webhooks"
)

// rawBodies are documents at which a check of JSON may go wrong.
var rawBodies = []string{
	``, ` `, `{}`, `[]`, ` { } `, "\t[\n]\r", `{`, `[`, `}`, `]`, `{]`, `[}`, `{}{}`, `[] []`, `null`, `nul`, `nulll`, `true`, `tru`, `True`, `false`, `fals`, `flase`,
	`0`, `-0`, `00`, `01`, `-`, `-01`, `1.`, `.1`, `1.0`, `1.5e3`, `1e`, `1e+`, `1E-2`, `1e2.3`, `+1`, `1 2`, `0x1`, `1.e1`, `-1.25E+10`, `NaN`, `--1`, `1-`, `1é`,
	`""`, `"`, `"a`, `'a'`, `"\"`, `"\""`, `"\\"`, `"\/\b\f\n\r\t"`, `"\a"`, `"\u12"`, `"\u123`, `"\u1234`, `"\u1234"`, `"\u12G4"`, `"\U1234"`, `"\uD800"`, `"\uaBcF"`,
	"\"\n\"", "\"\x00\"", "\"\x1f\"", "\"\x20\"", "\"\x7f\"", "\"\x80\"", "\"\xff\xfe\"", "\xef\xbb\xbf{}", `"é日本"`, "{}\x00", "\x0b{}", "\u00a0{}",
	`[1,]`, `[,1]`, `[1 2]`, `[1,2]`, `[1,,2]`, `[[[]]]`, `[[]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a":1 "b":2}`, `{a:1}`, `{1:1}`, `{"a":1,"a":2}`, `{"a" : 1 , "b" : [ 2 , { } ] }`, `{"a":1}]`, `{"a"::1}`, `{"a",1}`, `{"a":1;"b":2}`,
	`"1234567"`, `"12345678"`, `"123456789"`, `"1234567\n"`, `"12345678\n9"`, "\"1234567\n\"", "\"12345678\x019\"", "\"\x21\x20\x1f\x20\x21\x22\x23\x5c\"", "\"\xa2\xdc\x9f\"",
	`{"a":"x` + strings.Repeat("y", 40) + `\"","b":"\u00e9"}`,
}

// acceptsRaw reports whether a body that says it is JSON already is taken.
func acceptsRaw(t *testing.T, data []byte) bool {
	t.Helper()
	out, err := events.JSON.Marshal(json.RawMessage(data))
	if err == nil && string(out) != string(data) {
		t.Errorf("%q goes out as %q", data, out)
	}
	if err != nil && out != nil {
		t.Errorf("%q is refused with %v and goes out as %q", data, err, out)
	}
	return err == nil
}

func TestOnlyJSONIsTakenAsJSON(t *testing.T) {
	for _, text := range rawBodies {
		if got, want := acceptsRaw(t, []byte(text)), json.Valid([]byte(text)); got != want {
			t.Errorf("%q: taken %v, want %v", text, got, want)
		}
	}
}

func TestEachFaultInARealBodyIsFound(t *testing.T) {
	all, err := webhooks.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all[:min(len(all), 3)] {
		body := append([]byte(nil), e.Body...)
		for i := 0; i < len(body); i += 101 {
			was := body[i]
			for _, c := range []byte{'"', '\\', '\n', '}', ',', '0', 0xff} {
				body[i] = c
				if got, want := acceptsRaw(t, body), json.Valid(body); got != want {
					t.Fatalf("%s with %q at %d: taken %v, want %v", e.Type, c, i, got, want)
				}
			}
			body[i] = was
		}
	}
}

func TestBodiesMayBeNestedAsDeepAsTheyCanBeRead(t *testing.T) {
	for _, depth := range []int{9_999, 10_000, 10_001, 1_000_000} {
		for open, end := range map[string]string{"[": "]", `{"a":`: "}"} {
			inner := "1"
			text := strings.Repeat(open, depth) + inner + strings.Repeat(end, depth)
			if got, want := acceptsRaw(t, []byte(text)), json.Valid([]byte(text)); got != want {
				t.Errorf("%d times %s: taken %v, want %v", depth, open, got, want)
			}
		}
	}
}

// What is taken as JSON is what encoding/json takes.
func FuzzRawJSON(f *testing.F) {
	for _, text := range rawBodies {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, want := acceptsRaw(t, data), json.Valid(data); got != want {
			t.Errorf("%q: taken %v, want %v", data, got, want)
		}
	})
}
