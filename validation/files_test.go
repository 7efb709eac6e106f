package validation_test

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/logistically/events"
	"github.com/logistically/events/validation"
)

//go:embed testdata/schemas
var schemaFiles embed.FS

func TestADirectoryOfSchemasIsLoadedInOneCall(t *testing.T) {
	for name, add := range map[string]func(r *validation.Registry) error{
		"embed.FS": func(r *validation.Registry) error { return r.AddFS(schemaFiles, "testdata/schemas") },
		"os.DirFS": func(r *validation.Registry) error { return r.AddFS(os.DirFS("testdata/schemas"), ".") },
	} {
		r := newRegistry(t, validation.Config{})
		if err := add(r); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if types := strings.Join(r.Types(), " "); types != "order.created user.created" {
			t.Errorf("%s: %s", name, types)
		}
		for body, valid := range map[string]bool{`{"orderId":"1","total":1}`: true, `{"orderId":"1","total":0}`: false} {
			if err := r.Validate(t.Context(), "order.created", []byte(body)); (err == nil) != valid {
				t.Errorf("%s: %s: %v", name, body, err)
			}
		}
	}
}

func TestADirectoryIsAddedWholeOrNotAtAll(t *testing.T) {
	good := &fstest.MapFile{Data: []byte(`{}`)}
	for want, fsys := range map[string]fstest.MapFS{
		"has no schemas in it":                   {"README.txt": good},
		"not JSON":                               {"a.b.json": good, "c.json": {Data: []byte(`{`)}},
		"does not compile":                       {"a.b.json": good, "c.json": {Data: []byte(`{"type":"x"}`)}},
		"x/a.b.json has a schema of the same":    {"x/a.b.json": good, "y/a.b.json": good},
		"empty segment":                          {"a..b.json": good},
		"nothing is loaded":                      {"a.b.json": {Data: []byte(`{"$ref":"../elsewhere.json"}`)}},
		"file does not exist":                    nil,
		"nothing is loaded from files or the ne": {"a.b.json": {Data: []byte(`{"$ref":"file:///etc/passwd"}`)}},
	} {
		dir := "."
		if fsys == nil {
			dir = "nowhere"
		}
		r := newRegistry(t, validation.Config{})
		if err := r.AddFS(fsys, dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
		if types := r.Types(); len(types) > 0 {
			t.Errorf("%s: %v were added", want, types)
		}
	}
}

func TestOtherDocumentsAreLoadedOnlyWhereAskedFor(t *testing.T) {
	asked := ""
	r := newRegistry(t, validation.Config{Load: func(url string) ([]byte, error) {
		if asked = url; !strings.HasPrefix(url, "https://example.com/") {
			return nil, errors.New("not that one")
		}
		return []byte(`{"$defs":{"amount":{"type":"number","x-sensitive":true}}}`), nil
	}})
	if err := r.AddSchema("order.created", []byte(`{"properties":{"total":{"$ref":"https://example.com/money.json#/$defs/amount"}}}`)); err != nil || asked != "https://example.com/money.json" {
		t.Fatalf("asked for %q: %v", asked, err)
	}
	invalid, ok := errors.AsType[*events.ValidationError](r.Validate(t.Context(), "order.created", []byte(`{"total":"x"}`)))
	if !ok || invalid.Findings[0].Pointer != "/total" || invalid.Findings[0].Value != "[redacted]" {
		t.Errorf("%v", invalid)
	}
	if err := r.AddSchema("order.paid", []byte(`{"$ref":"file:///etc/passwd"}`)); err == nil || !strings.Contains(err.Error(), "not that one") {
		t.Errorf("%v", err)
	}
}

func ExampleRegistry_AddFS() {
	// In a service: //go:embed schemas
	schemas := fstest.MapFS{"schemas/order.created.json": {Data: []byte(`{"required":["orderId"]}`)}}
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := r.AddFS(schemas, "schemas"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Types())
	// Output:
	// [order.created]
}
