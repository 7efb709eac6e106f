package validation_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/logistically/events"
	"github.com/logistically/events/validation"
)

type address struct {
	City string `json:"city" schema:"minLength=1"`
}

type everything struct {
	ID       uuid.UUID         `json:"id"`
	At       time.Time         `json:"at"`
	Maybe    *time.Time        `json:"maybe,omitempty"`
	Raw      json.RawMessage   `json:"raw,omitempty"`
	Number   json.Number       `json:"number,omitempty"`
	Bytes    []byte            `json:"bytes,omitempty"`
	IP       netip.Addr        `json:"ip,omitzero"`
	Big      *big.Int          `json:"big,omitempty"`
	Wait     time.Duration     `json:"wait,omitempty"`
	Any      any               `json:"any,omitempty" schema:"description=whatever"`
	Labels   map[string]string `json:"labels,omitempty"`
	Homes    []address         `json:"homes,omitempty" schema:"maxItems=2"`
	State    string            `json:"state,omitempty" schema:"enum=open|closed"`
	Level    int               `json:"level,omitempty" schema:"enum=1|2|3"`
	SKU      string            `json:"sku,omitempty" schema:"x-sensitive,pattern=^[A-Z]{2,4}$"`
	Uint8    uint8             `json:"uint8,omitempty"`
	Untagged bool
	address
	hidden func()
	Ignore func() `json:"-"`
}

var _ = everything{}.hidden

func TestWhatAGoTypeMarshalsToFitsItsSchema(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	if err := validation.AddType[everything](r, "a.b"); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, v := range []everything{
		{address: address{"Paris"}},
		{
			ID: uuid.New(), At: now, Maybe: &now, Raw: json.RawMessage(`[1]`), Number: "1.5", Bytes: []byte{1}, IP: netip.MustParseAddr("::1"), Wait: 1, Any: []int{1},
			Labels: map[string]string{"a": "b"}, Homes: []address{{"Rome"}}, State: "open", Level: 2, SKU: "ABC", Uint8: 255, address: address{"Oslo"},
		},
	} {
		body, err := events.JSON.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Validate(t.Context(), "a.b", body); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
	const good = `"id":"x","at":"2026-01-02T03:04:05Z","Untagged":true,"city":"Rome"`
	for more, pointer := range map[string]string{
		``: "", `,"unknown":1`: "", `,"at":1`: "/at", `,"maybe":null`: "", `,"maybe":"x"`: "/maybe", `,"bytes":[1]`: "/bytes", `,"ip":1`: "/ip", `,"number":"1"`: "/number",
		`,"homes":[{"city":""}]`: "/homes/0/city", `,"homes":null`: "", `,"homes":[{"city":"a"},{"city":"a"},{"city":"a"}]`: "/homes",
		`,"state":"lost"`: "/state", `,"level":4`: "/level", `,"level":"1"`: "/level", `,"sku":"abc"`: "/sku", `,"uint8":256`: "/uint8", `,"labels":{"a":1}`: "/labels/a",
	} {
		body := `{` + good + more + `}`
		if strings.HasPrefix(more, `,"at"`) {
			body = `{"id":"x","Untagged":true,"city":"Rome"` + more + `}`
		}
		f := findings(t, r, body)
		if pointer == "" && f != nil || pointer != "" && (len(f) != 1 || f[0].Pointer != pointer) {
			t.Errorf("%s: %v, want %q", body, f, pointer)
		}
		if pointer == "/sku" && f[0].Value != "[redacted]" {
			t.Errorf("%v", f)
		}
	}
}

func TestAStructIsClosedByItsBlankField(t *testing.T) {
	type closed struct {
		_    struct{} `schema:"additionalProperties=false"`
		Name string   `json:"name,omitempty"`
	}
	r := newRegistry(t, validation.Config{})
	if err := validation.AddType[closed](r, "a.b"); err != nil {
		t.Fatal(err)
	}
	if f := findings(t, r, `{"name":"x","other":1}`); len(f) != 1 || f[0].Rule != "additionalProperties" {
		t.Errorf("%v", f)
	}
}

func TestTypesWithoutASchemaAreRefused(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	type list struct{ Next *list }
	type typo struct {
		A string `schema:"minLenght=1"`
	}
	type noNumber struct {
		A string `schema:"minLength=one"`
	}
	type function struct{ F func() }
	type named struct {
		address `json:"address"`
	}
	for want, err := range map[string]error{
		"cycle":                      validation.AddType[list](r, "a.b"),
		`"minLenght" is none of the`: validation.AddType[typo](r, "a.b"),
		`"one" is no number`:         validation.AddType[noNumber](r, "a.b"),
		"func":                       validation.AddType[function](r, "a.b"),
		"under a JSON name":          validation.AddType[named](r, "a.b"),
		"empty segment":              validation.AddType[address](r, "a..b"),
		"needs no schema":            validation.AddType[any](r, "a.b"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestASchemaAndAGoTypeAreBothAsked(t *testing.T) {
	type body struct {
		Name string `json:"name"`
	}
	r := registryOf(t, `{"required":["id"]}`)
	if err := validation.AddType[body](r, "a.b"); err != nil {
		t.Fatal(err)
	}
	if f := findings(t, r, `{}`); len(f) != 2 {
		t.Errorf("%v", f)
	}
	if err := validation.AddType[body](r, "a.b"); err == nil {
		t.Error("the same type was added twice")
	}
	if schema, _ := r.Schema("a.b"); string(schema) != `{"required":["id"]}` {
		t.Errorf("%s", schema)
	}
	if _, ok := errors.AsType[*events.ConfigError](r.AddSchema("a.b", []byte(`{}`))); !ok {
		t.Error("a second document was added")
	}
}

func ExampleAddType() {
	type item struct {
		Product  string `json:"product"`
		Quantity int    `json:"quantity" schema:"minimum=1"`
	}
	type order struct {
		ID    string `json:"id"`
		Email string `json:"email" schema:"format=email,x-sensitive"`
		Items []item `json:"items" schema:"notnull,minItems=1"`
	}
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := validation.AddType[order](r, "order.created"); err != nil {
		fmt.Println(err)
		return
	}
	err = r.Validate(ctx, "order.created", []byte(`{"email":"ada","items":[{"product":"p","quantity":0}]}`))
	if invalid, ok := errors.AsType[*events.ValidationError](err); ok {
		for _, f := range invalid.Findings {
			fmt.Printf("%q %s: %s\n", f.Pointer, f.Rule, f.Message)
		}
	}
	// Output:
	// "" required: missing property 'id'
	// "/email" format: breaks this rule; the value is sensitive and not shown
	// "/items/0/quantity" minimum: minimum: got 0, want 1
}

func ExampleSchemaOf() {
	type user struct {
		Name string `json:"name" schema:"minLength=1"`
	}
	schema, err := validation.SchemaOf[user]()
	fmt.Println(string(schema), err)
	// Output:
	// {"$schema":"https://json-schema.org/draft/2020-12/schema","properties":{"name":{"minLength":1,"type":"string"}},"required":["name"],"type":"object"} <nil>
}
