package validation_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/logistically/events/validation"
)

// Schemas of three events, inferred from the types that services use anyway.
func ExampleAddType_several() {
	type userCreated struct {
		UserID    string    `json:"userId"`
		Name      string    `json:"name"`
		Email     string    `json:"email" schema:"format=email"`
		CreatedAt time.Time `json:"createdAt"`
	}
	type userUpdated struct {
		UserID    string         `json:"userId"`
		Changes   map[string]any `json:"changes" schema:"notnull"`
		UpdatedBy string         `json:"updatedBy"`
		UpdatedAt time.Time      `json:"updatedAt"`
	}
	type item struct {
		ProductID string  `json:"productId"`
		Quantity  float64 `json:"quantity" schema:"exclusiveMinimum=0"`
		Price     float64 `json:"price" schema:"exclusiveMinimum=0"`
	}
	type orderCreated struct {
		OrderID    string  `json:"orderId"`
		CustomerID string  `json:"customerId"`
		Items      []item  `json:"items" schema:"notnull"`
		Total      float64 `json:"total" schema:"exclusiveMinimum=0"`
	}
	r, err := validation.NewRegistry(validation.Config{Unknown: validation.Reject})
	if err != nil {
		panic(err)
	}
	err = errors.Join(
		validation.AddType[userCreated](r, "user.created"),
		validation.AddType[userUpdated](r, "user.updated"),
		validation.AddType[orderCreated](r, "order.created"),
	)
	if err != nil {
		panic(err)
	}
	fmt.Println(r.Types())
	for _, e := range []struct{ eventType, body string }{
		{"user.created", `{"userId":"1","name":"Ada","email":"ada@example.com","createdAt":"2024-05-01T12:00:00Z"}`},
		{"user.created", `{"userId":"1","name":"Ada","email":"ada","createdAt":"today"}`},
		{"order.created", `{"orderId":"7","customerId":"1","items":[{"productId":"p","quantity":0,"price":2}],"total":2}`},
		{"order.paid", `{}`},
	} {
		fmt.Println(r.Validate(ctx, e.eventType, []byte(e.body)))
	}
	// Output:
	// [order.created user.created user.updated]
	// <nil>
	// event "user.created" is not valid: at /createdAt: 'today' is not valid date-time: less than 20 characters long (format); at /email: 'ada' is not valid email: missing @ (format)
	// event "order.created" is not valid: at /items/0/quantity: exclusiveMinimum: got 0, want 0 (exclusiveMinimum)
	// event "order.paid" is not valid: at body: no schema for this event type: add one, or set validation.Config.Unknown to Accept (type)
}
