package validation

import (
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/logistically/events/internal/webhooks"
)

// asEncodingJSON reads a text as encoding/json does.
func asEncodingJSON(text []byte) (any, bool) {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil, false
	}
	_, err := dec.Token()
	return v, errors.Is(err, io.EOF)
}

// parsesAlike fails the test unless decode agrees with encoding/json, or has
// one of the reasons of its own to refuse the text.
func parsesAlike(t *testing.T, text []byte) {
	t.Helper()
	want, valid := asEncodingJSON(text)
	doc, faults := decode(text)
	if faults.empty() {
		if !valid {
			t.Errorf("accepted, and encoding/json does not: %q", text)
		} else if !reflect.DeepEqual(doc.value, want) {
			t.Errorf("%q is %#v, and to encoding/json %#v", text, doc.value, want)
		}
		return
	}
	notJSON, tooDeep := false, false
	for _, f := range faults.findings {
		notJSON = notJSON || strings.HasPrefix(f.Message, "not JSON")
		tooDeep = tooDeep || strings.HasPrefix(f.Message, "more than 256")
	}
	if notJSON == valid && !tooDeep && faults.omitted == 0 {
		t.Errorf("%q: %v, valid to encoding/json: %v", text, faults.findings, valid)
	}
}

func TestTextsAreReadAsEncodingJSONReadsThem(t *testing.T) {
	all, err := webhooks.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		parsesAlike(t, e.Body)
	}
	for _, text := range texts {
		parsesAlike(t, []byte(text))
	}
}

var texts = []string{
	``, ` `, `null`, `true`, `false`, `nul`, `nulll`, `"`, `""`, `"a`, `"\`, `"\"`, `"\u`, `"\u12`, `"\u12g4"`, `"\u+123"`, `"\x"`, `"\'"`,
	`"\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00"`, `"\ud800"`, `"\ud800\ud800"`, `"\ud800\u0041"`, `"\ude00\ud83d"`, `"\ud800x"`, `"\ud800\n"`, `"\ud800\u"`, `"é😀"`,
	"\"a\nb\"", "\"a\x00b\"", "\"\x7f\"", "\"\xff\"", "\"\xc3\"", "\"\\n\xff\"", "\ufeff{}", "\x00", "{}\x00", "[1]\x00",
	`0`, `-0`, `00`, `01`, `-`, `--1`, `+1`, `.5`, `1.`, `1.e1`, `1e`, `1e+`, `1E-5`, `1.5e+3`, `0e0`, `1e5x`, `1 2`, `NaN`, `Infinity`, `-Infinity`, `0x10`, `1_000`,
	`[]`, `[ ]`, `[`, `]`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1 2]`, `[[[]],[{}]]`, `[1]]`,
	`{}`, `{ }`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"":{"":[]}}`, `{"a":1}{`, `{'a':1}`, "\t\r\n {\"a\" : [ 1 , 2 ] } \n",
	`{"a":1,"a":2}`, `[1e401]`, `/* */ 1`, `tru`, `truE`, `"a" "b"`, "\u00a0" + `1`, `[1,2,[3,{"x":[4]}],{"y":{}}]`,
}

func FuzzTextsAreReadAsEncodingJSONReadsThem(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(parsesAlike)
}
