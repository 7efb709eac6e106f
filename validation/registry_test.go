package validation_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/validation"
)

func newRegistry(tb testing.TB, cfg validation.Config) *validation.Registry {
	tb.Helper()
	r, err := validation.NewRegistry(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

const orderCreated = `{
	"type": "object",
	"required": ["orderId", "customerId", "items", "total"],
	"properties": {
		"orderId": {"type": "string"},
		"customerId": {"type": "string"},
		"items": {"type": "array", "items": {
			"type": "object",
			"required": ["productId", "quantity", "price"],
			"properties": {
				"productId": {"type": "string"},
				"quantity": {"type": "number", "exclusiveMinimum": 0},
				"price": {"type": "number", "exclusiveMinimum": 0}
			}
		}},
		"total": {"type": "number", "exclusiveMinimum": 0},
		"email": {"type": "string", "format": "email"},
		"at": {"type": "string", "format": "date-time"},
		"tree": {"type": "string", "format": "uri-template"},
		"a/b~c": {"type": "string"}
	}
}`

func TestSchemaFindingsNamePointerRuleAndFault(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	if err := r.AddSchema("order.created", []byte(orderCreated)); err != nil {
		t.Fatal(err)
	}
	const good = `"orderId":"1","customerId":"2","total":1,"items":[]`
	for body, want := range map[string]string{
		`{` + good + `}`:                                  "",
		`{` + good + `,"anything":"else"}`:                "",
		`{` + good + `,"email":"ada"}`:                    `event "order.created" is not valid: at /email: 'ada' is not valid email: missing @ (format)`,
		`{` + good + `,"at":"yesterday"}`:                 `event "order.created" is not valid: at /at: 'yesterday' is not valid date-time: less than 20 characters long (format)`,
		`{` + good + `,"a/b~c":1}`:                        `event "order.created" is not valid: at /a~1b~0c: got number, want string (type), value 1`,
		`{` + good + `,"tree":"/trees{/sha}{?a,b:3,c*}"}`: "",
		`{` + good + `,"tree":"/trees{/sha"}`:             `event "order.created" is not valid: at /tree: '/trees{/sha' is not valid uri-template: an expression is not closed (format)`,
		`{"orderId":1,"customerId":"2","items":[{"productId":"p","quantity":0,"price":1},{}]}`: `event "order.created" is not valid: ` +
			`at body: missing property 'total' (required); at /items/0/quantity: exclusiveMinimum: got 0, want 0 (exclusiveMinimum); ` +
			`at /items/1: missing properties 'productId', 'quantity', 'price' (required); at /orderId: got number, want string (type), value 1`,
		`[]`:        `event "order.created" is not valid: at body: got array, want object (type)`,
		`{"a":`:     `event "order.created" is not valid: at body: not JSON: it ends at byte 5, where a value should be (json)`,
		``:          `event "order.created" is not valid: at body: not JSON: it ends at byte 0, where a value should be (json)`,
		`{} {}`:     `event "order.created" is not valid: at body: not JSON: at byte 3 is '{', where the end should be (json)`,
		`not json!`: `event "order.created" is not valid: at body: not JSON: at byte 0 is 'n', where null should be (json)`,
	} {
		got := ""
		if err := r.Validate(t.Context(), "order.created", []byte(body)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", body, got, want)
		}
	}
}

func TestSchemaAndFunctionsAreAllAsked(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	type user struct{ Name, Email string }
	err := errors.Join(
		r.AddSchema("user.created", []byte(`{"required":["name"]}`)),
		validation.AddTyped(r, "user.created", "unique", func(_ context.Context, u user) error {
			if u.Email == "ada@example.com" {
				return errors.New("user already exists")
			}
			return nil
		}),
		r.AddFunc("user.created", "small", func(_ context.Context, body []byte) error {
			if len(body) > 100 {
				return fmt.Errorf("%d bytes", len(body))
			}
			return nil
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Validate(t.Context(), "user.created", []byte(`{"email":"ada@example.com","x":"`+strings.Repeat("x", 100)+`"}`))
	const want = `event "user.created" is not valid: at body: missing property 'name' (required); at body: 134 bytes (small); at body: user already exists (unique)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if schema, ok := r.Schema("user.created"); !ok || string(schema) != `{"required":["name"]}` {
		t.Errorf("schema %s %v", schema, ok)
	}
}

func TestACheckThatCannotBeDoneIsNoVerdict(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	err := errors.Join(
		r.AddFunc("a", "store", func(context.Context, []byte) error {
			return fmt.Errorf("user store: %w", validation.ErrUnavailable)
		}),
		r.AddFunc("b", "panics", func(context.Context, []byte) error { panic("x") }),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{"a", "b"} {
		err := r.Validate(t.Context(), typ, []byte(`1`))
		if _, verdict := errors.AsType[*events.ValidationError](err); err == nil || verdict {
			t.Errorf("%s: %v", typ, err)
		}
	}
}

func TestUnknownTypes(t *testing.T) {
	for policy, refused := range map[validation.UnknownPolicy]bool{validation.Accept: false, validation.Reject: true} {
		err := newRegistry(t, validation.Config{Unknown: policy}).Validate(t.Context(), "ping", []byte(`{}`))
		if (err != nil) != refused {
			t.Errorf("policy %d: %v", policy, err)
		}
	}
	if _, err := validation.NewRegistry(validation.Config{Unknown: 5}); err == nil {
		t.Error("wrong policy accepted")
	}
}

func TestAddRefusesWhatCannotWork(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	if err := r.AddSchema("twice", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"not JSON":                   r.AddSchema("a", []byte(`{`)),
		"does not compile":           r.AddSchema("a", []byte(`{"type":"nothing"}`)),
		"is outside of the document": r.AddSchema("a", []byte(`{"$ref":"https://example.com/schema.json"}`)),
		"file:///etc/passwd":         r.AddSchema("a", []byte(`{"$ref":"file:///etc/passwd"}`)),
		"is added already":           r.AddSchema("twice", []byte(`{}`)),
		"empty segment":              r.AddSchema("a..b", []byte(`{}`)),
		"has no name":                r.AddFunc("a", "", nil),
		"#/definitions/none":         r.AddDocument("doc", []byte(`{}`), map[string]string{"a": "#/definitions/none"}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	// A schema may refer to itself.
	if err := r.AddSchema("list", []byte(`{"properties":{"next":{"$ref":"#"}}}`)); err != nil {
		t.Error(err)
	}
	if err := r.Validate(t.Context(), "list", []byte(`{"next":{"next":{"next":null}}}`)); err != nil {
		t.Error(err)
	}
	if err := r.Validate(t.Context(), "list", []byte(strings.Repeat("[", 1_000_000))); err == nil {
		t.Error("a million brackets accepted")
	}
}
