package validation_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/logistically/events/validation"
)

var ctx = context.Background() // of a request, or of a handler

func ExampleRegistry() {
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		panic(err)
	}
	err = r.AddSchema("user.created", []byte(`{
		"type": "object",
		"required": ["userId", "email"],
		"properties": {"email": {"type": "string", "format": "email"}}
	}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Validate(context.Background(), "user.created", []byte(`{"userId":"1","email":"ada@example.com"}`)))
	fmt.Println(r.Validate(context.Background(), "user.created", []byte(`{"email":"ada"}`)))
	// Output:
	// <nil>
	// event "user.created" is not valid: at body: missing property 'userId' (required); at /email: 'ada' is not valid email: missing @ (format)
}

func ExampleAddTyped() {
	type user struct {
		Email string `json:"email"`
	}
	taken := map[string]bool{"ada@example.com": true}
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		panic(err)
	}
	err = validation.AddTyped(r, "user.created", "unique", func(_ context.Context, u user) error {
		if taken[u.Email] {
			return errors.New("user already exists")
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Validate(context.Background(), "user.created", []byte(`{"email":"ada@example.com"}`)))
	// Output:
	// event "user.created" is not valid: at body: user already exists (unique)
}

func ExampleNewRegistry() {
	_, err := validation.NewRegistry(validation.Config{Unknown: 7})
	fmt.Println(err)
	// Output:
	// validation.Config.Unknown: is no policy (got 7): use validation.Accept or validation.Reject
}

func ExampleRegistry_AddSchema() {
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		panic(err)
	}
	if err := r.AddSchema("user.created", []byte(`{"properties":{"email":{"format":"email","x-sensitive":true}}}`)); err != nil {
		panic(err)
	}
	fmt.Println(r.Validate(context.Background(), "user.created", []byte(`{"email":"ada"}`)))
	fmt.Println(r.AddSchema("user.updated", []byte(`{"$ref":"https://example.com/user.json"}`)) != nil)
	// Output:
	// event "user.created" is not valid: at /email: breaks this rule; the value is sensitive and not shown (format)
	// true
}

func ExampleRegistry_AddDocument() {
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		panic(err)
	}
	document := []byte(`{"definitions":{"id":{"type":"string"},"user":{"properties":{"id":{"$ref":"#/definitions/id"}}}}}`)
	err = r.AddDocument("users.json", document, map[string]string{"user.created": "#/definitions/user", "user.deleted": "#/definitions/user"})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Types())
	fmt.Println(r.Validate(context.Background(), "user.deleted", []byte(`{"id":7}`)))
	// Output:
	// [user.created user.deleted]
	// event "user.deleted" is not valid: at /id: got number, want string (type), value 7
}

func ExampleRegistry_AddFunc() {
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		panic(err)
	}
	err = r.AddFunc("user.created", "small", func(_ context.Context, body []byte) error {
		if len(body) > 20 {
			return fmt.Errorf("%d bytes, at most 20", len(body))
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Validate(context.Background(), "user.created", []byte(`{"name":"Ada Lovelace"}`)))
	// Output:
	// event "user.created" is not valid: at body: 23 bytes, at most 20 (small)
}
