package validation_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/validation"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// specification is the JSON Schema of AsyncAPI 3.0.0 documents.
func specification(t *testing.T) *jsonschema.Schema {
	t.Helper()
	file, err := os.Open("testdata/asyncapi-3.0.0.schema.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unzipped)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("asyncapi.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("asyncapi.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// checkAsyncAPI holds a document to the specification, and all its references
// to what is in it.
func checkAsyncAPI(t *testing.T, spec *jsonschema.Schema, text []byte) map[string]any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Validate(doc); err != nil {
		t.Errorf("against the specification: %v", err)
	}
	var follow func(value any)
	refs := 0
	follow = func(value any) {
		switch v := value.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				refs++
				target := any(doc)
				for _, segment := range strings.Split(ref, "/")[1:] {
					object, _ := target.(map[string]any)
					target, ok = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(segment)]
					if !ok {
						t.Errorf("%s leads to nothing", ref)
						break
					}
				}
			}
			for _, inner := range v {
				follow(inner)
			}
		case []any:
			for _, inner := range v {
				follow(inner)
			}
		}
	}
	follow(doc)
	t.Logf("%d bytes, %d references", len(text), refs)
	object, _ := doc.(map[string]any)
	return object
}

func TestAsyncAPIDocumentsMeetTheSpecification(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	if err := errors.Join(
		r.AddFS(schemaFiles, "testdata/schemas"),
		validation.AddType[orderV3](r, "order.created"), // beside the document
		validation.AddType[userUpdated](r, "user.updated"),
		r.AddSchema("odd/näme", []byte(`{"$id":"https://example.com/x","$defs":{"a b":{"type":"string","x-sensitive":true}},"properties":{"next":{"$ref":"#"},"a":{"$ref":"#/$defs/a b"}}}`)),
		r.AddSchema("old.limits", []byte(`{"$schema":"http://json-schema.org/draft-04/schema#","id":"https://example.com/y","minimum":1,"exclusiveMinimum":true,"maximum":9,"exclusiveMaximum":false}`)),
		validation.AddTypedUpcast(r, "order.paid", 1, toV2),
	); err != nil {
		t.Fatal(err)
	}
	text, err := r.AsyncAPI(validation.Service{
		Title: "shop", Version: "1.2.3", Description: "Sells things.",
		Sends:    []validation.Traffic{{Pattern: "order.*"}, {Pattern: "audit.log", Topic: "{audit}:all"}, {Pattern: "odd/näme"}, {Pattern: "odd/näme", Topic: "odd_n_me-events"}, {Pattern: "old.limits"}},
		Receives: []validation.Traffic{{Pattern: "user.*"}, {Pattern: "user.created"}, {Pattern: "order.created"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkAsyncAPI(t, specification(t), text)
	again, err := r.AsyncAPI(validation.Service{
		Title: "shop", Version: "1.2.3", Description: "Sells things.",
		Sends:    []validation.Traffic{{Pattern: "order.*"}, {Pattern: "audit.log", Topic: "{audit}:all"}, {Pattern: "odd/näme"}, {Pattern: "odd/näme", Topic: "odd_n_me-events"}, {Pattern: "old.limits"}},
		Receives: []validation.Traffic{{Pattern: "user.*"}, {Pattern: "user.created"}, {Pattern: "order.created"}},
	})
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("not the same document: %v", err)
	}
	golden(t, "asyncapi", string(text)+"\n")
}

// One document with all 121 types stays about the size of its schemas.
func TestAsyncAPIOfRealWebhooksMeetsTheSpecification(t *testing.T) {
	r, _ := webhookRegistry(t)
	text, err := r.AsyncAPI(validation.Service{Title: "hooks", Receives: []validation.Traffic{{Pattern: "**", Topic: "github"}}})
	if err != nil {
		t.Fatal(err)
	}
	doc := checkAsyncAPI(t, specification(t), text)
	channels, _ := doc["channels"].(map[string]any)
	channel, _ := channels["github"].(map[string]any)
	messages, _ := channel["messages"].(map[string]any)
	if len(messages) != 121 || len(text) > 2<<20 {
		t.Errorf("%d messages, %d bytes", len(messages), len(text))
	}
}

func TestAsyncAPIRefusesWhatItCannotDescribe(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	for want, s := range map[string]validation.Service{
		"is empty":            {},
		"matches no type":     {Title: "x", Sends: []validation.Traffic{{Pattern: "user.*"}}},
		"event type is empty": {Title: "x", Receives: []validation.Traffic{{}}},
	} {
		if _, err := r.AsyncAPI(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if _, ok := errors.AsType[*events.ConfigError](second(r.AsyncAPI(validation.Service{}))); !ok {
		t.Error("not a *events.ConfigError")
	}
}

func second(_ any, err error) error { return err }

func ExampleRegistry_AsyncAPI() {
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := r.AddSchema("user.created", []byte(`{"type":"object","required":["id"]}`)); err != nil {
		fmt.Println(err)
		return
	}
	document, err := r.AsyncAPI(validation.Service{Title: "users", Sends: []validation.Traffic{{Pattern: "user.**"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	var d struct {
		AsyncAPI   string
		Operations map[string]struct{ Action string }
		Components struct {
			Messages map[string]struct{ Payload map[string]string }
		}
	}
	if err := json.Unmarshal(document, &d); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.AsyncAPI, d.Operations["send-user-events"].Action, d.Components.Messages["user.created"].Payload["$ref"])
	// Output:
	// 3.0.0 send #/components/schemas/user.created
}
