package validation_test

import (
	"strings"
	"testing"

	"github.com/logistically/events/validation"
)

func TestADocumentIsAddedWholeOrNotAtAll(t *testing.T) {
	const document = `{"definitions":{"x":{"type":"object"}}}`
	for name, types := range map[string]map[string]string{
		"no such definition": {"a.a": "#/definitions/x", "a.b": "#/definitions/y"},
		"no event type":      {"a.a": "#/definitions/x", "b..b": "#/definitions/x"},
		"there already":      {"a.a": "#/definitions/x", "known": "#/definitions/x"},
	} {
		r := newRegistry(t, validation.Config{Unknown: validation.Reject})
		if err := r.AddSchema("known", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		if err := r.AddDocument("d", []byte(document), types); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, ok := r.Schema("a.a"); ok {
			t.Errorf("%s: a part was added", name)
		}
		if err := r.AddDocument("d", []byte(document), map[string]string{"a.a": "#/definitions/x", "a.c": "#/definitions/x"}); err != nil {
			t.Errorf("%s: and once mended: %v", name, err)
		}
	}
}

func TestEventTypesMayHoldWhatMeansSomethingInAURL(t *testing.T) {
	for _, eventType := range []string{"user#created", "user%created", "user%25", "user?created", "user/created", "a:b", "benutzer.gelöscht", "#"} {
		r := newRegistry(t, validation.Config{})
		if err := r.AddSchema(eventType, []byte(`{"type":"object","properties":{"next":{"$ref":"#"}}}`)); err != nil {
			t.Errorf("%s: %v", eventType, err)
			continue
		}
		for body, valid := range map[string]bool{`{"next":{"next":{}}}`: true, `{"next":{"next":1}}`: false} {
			if err := r.Validate(t.Context(), eventType, []byte(body)); (err == nil) != valid {
				t.Errorf("%s: %s: %v", eventType, body, err)
			}
		}
	}
	// Nothing of the library's URLs is in an error, but what was passed.
	err := newRegistry(t, validation.Config{}).AddDocument("my#document", []byte(`{`), map[string]string{"a": "#"})
	if err == nil || !strings.Contains(err.Error(), `"my#document"`) {
		t.Errorf("got %v", err)
	}
}
