package validation_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/logistically/events/internal/webhooks"
	"github.com/logistically/events/validation"
)

// allDefinitions are the 344 definitions of the webhooks' schema, each as an
// event type.
func allDefinitions(tb testing.TB) (document []byte, types map[string]string) {
	tb.Helper()
	document, err := webhooks.Schema()
	if err != nil {
		tb.Fatal(err)
	}
	var parts struct{ Definitions map[string]json.RawMessage }
	if err := json.Unmarshal(document, &parts); err != nil {
		tb.Fatal(err)
	}
	types = map[string]string{}
	for name := range parts.Definitions {
		types["webhook."+name] = "#/definitions/" + name
	}
	if len(types) != 344 {
		tb.Fatalf("%d definitions", len(types))
	}
	return document, types
}

func BenchmarkRegister344Definitions(b *testing.B) {
	document, types := allDefinitions(b)
	for b.Loop() {
		r := newRegistry(b, validation.Config{})
		if err := r.AddDocument("github-webhooks.json", document, types); err != nil {
			b.Fatal(err)
		}
	}
}

// It takes some 100 ms; the line is far above, for a busy machine with the race
// detector. What is quadratic takes minutes.
func TestHundredsOfDefinitionsAreRegisteredSoon(t *testing.T) {
	document, types := allDefinitions(t)
	started := time.Now()
	if err := newRegistry(t, validation.Config{}).AddDocument("github-webhooks.json", document, types); err != nil {
		t.Fatal(err)
	}
	took := time.Since(started)
	t.Logf("344 definitions in %v", took)
	if took > time.Minute {
		t.Errorf("344 definitions took %v", took)
	}
}

func TestSchemasMayBeAddedWhileEventsAreValidated(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	if err := r.AddSchema("known", []byte(`{"type":"object"}`)); err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		for i := range 100 {
			if err := r.AddSchema(fmt.Sprintf("type.%d", i), []byte(`{"type":"object"}`)); err != nil {
				t.Error(err)
			}
		}
	})
	both.Go(func() {
		for range 1000 {
			if r.Validate(t.Context(), "known", []byte(`{}`)) != nil || r.Validate(t.Context(), "known", []byte(`1`)) == nil {
				t.Error("a wrong verdict")
			}
		}
	})
	both.Wait()
	if n := len(r.Types()); n != 101 {
		t.Errorf("%d types", n)
	}
}
