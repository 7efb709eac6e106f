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
