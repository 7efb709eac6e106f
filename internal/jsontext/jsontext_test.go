package jsontext_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/logistically/events/internal/jsontext"
)

func TestStringifyRefusesWhatIsNoJSON(t *testing.T) {
	for _, text := range []string{"", " ", "{", "[", `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,}`, `{1:1}`, `[1,`, `[1,]`, `[,]`, `[1 2]`, `{"a":1]`, `[1}`, `1 2`, `nul`, `"`, `"\x"`, "\"\n\"", "\"\xff\"", `01`, `-`, `+1`, `.5`,
		strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), strings.Repeat(`{"a":`, 10_001) + "1" + strings.Repeat("}", 10_001)} {
		if out, err := jsontext.Stringify([]byte("x"), []byte(text)); !errors.Is(err, jsontext.ErrSyntax) || out != nil {
			t.Errorf("%.50q: %.50q, %v", text, out, err)
		}
	}
}

func TestStringifyRefusesIntegersThatADoubleDoesNotHold(t *testing.T) {
	for text, want := range map[string]string{
		"9007199254740993": "9007199254740992", "18446744073709551615": "18446744073709552000", "1152921504606846976": "1152921504606847000", "-9007199254740993": "-9007199254740992", `{"a":[1,9007199254740993]}`: "9007199254740992",
		"1e999": "out of range",
	} {
		if _, err := jsontext.Stringify(nil, []byte(text)); !errors.Is(err, jsontext.ErrNumber) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestPartsAreTheValuesAsTheyAreWritten(t *testing.T) {
	var got []string
	ok := jsontext.Members([]byte(` { "a" : 1.0 , "\u0062" : [ 1 ,2 ] , "a":{"x":"}"} } `), func(name string, value []byte) { got = append(got, name, string(value)) })
	if want := []string{"a", "1.0", "b", "[ 1 ,2 ]", "a", `{"x":"}"}`}; !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("members %q, %v", got, ok)
	}
	got = nil
	ok = jsontext.Elements([]byte(` [ 1.0 , "\"]" , [ ] ] `), func(value []byte) { got = append(got, string(value)) })
	if want := []string{"1.0", `"\"]"`, "[ ]"}; !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("elements %q, %v", got, ok)
	}
	for _, text := range []string{`"\ud83d\ude00\u00e9\/\b\f\n\r\t\"\\x"`, `""`, `"plain"`, `"\ud800"`, `"\ud800\ud83d\ude00"`, `"\udc00\ud800x"`} {
		var want string
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if got, ok := jsontext.Text([]byte(text)); !ok || got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// What is taken is what encoding/json takes, and means the same to it afterwards.
func FuzzStringify(f *testing.F) {
	for _, text := range handPicked() {
		f.Add([]byte(text))
	}
	for _, text := range generated(7, 50) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, err := jsontext.Stringify(nil, text)
		if jsontext.Valid(text) != json.Valid(text) {
			t.Fatalf("%q: Valid is wrong", text)
		}
		if err != nil {
			if errors.Is(err, jsontext.ErrSyntax) && json.Valid(text) && json.Valid([]byte(strings.ToValidUTF8(string(text), ""))) && strings.ToValidUTF8(string(text), "") == string(text) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		again, err := jsontext.Stringify(nil, out)
		if err != nil || string(again) != string(out) {
			t.Errorf("%q, %q the second time, %v", out, again, err)
		}
		var before, after any
		if err := errors.Join(json.Unmarshal(text, &before), json.Unmarshal(out, &after)); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%q is another value than %q, %v", out, text, err)
		}
		object := jsontext.Members(out, func(string, []byte) {})
		array := jsontext.Elements(out, func([]byte) {})
		if object != (out[0] == '{') || array != (out[0] == '[') {
			t.Errorf("%q: object %v, array %v", out, object, array)
		}
	})
}
