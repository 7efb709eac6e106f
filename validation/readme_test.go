package validation_test

import (
	"context"
	"errors"
	"net/mail"
	"testing"
	"time"

	"github.com/logistically/events/validation"
)

// The three schemas of the TypeScript library's README, as Go types.
type userCreated struct {
	UserID    string    `json:"userId"`
	Name      string    `json:"name"`
	Email     string    `json:"email" schema:"format=email"`
	CreatedAt time.Time `json:"createdAt"`
}

type userUpdated struct {
	UserID    string         `json:"userId"`
	Changes   map[string]any `json:"changes"`
	UpdatedBy string         `json:"updatedBy"`
	UpdatedAt time.Time      `json:"updatedAt"`
}

type orderItem struct {
	ProductID string  `json:"productId"`
	Quantity  float64 `json:"quantity" schema:"exclusiveMinimum=0"`
	Price     float64 `json:"price" schema:"exclusiveMinimum=0"`
}

type orderCreatedBody struct {
	OrderID    string      `json:"orderId"`
	CustomerID string      `json:"customerId"`
	Items      []orderItem `json:"items" schema:"notnull"`
	Total      float64     `json:"total" schema:"exclusiveMinimum=0"`
}

// readmeCases are bodies, and whether the README's zod schemas take them.
var readmeCases = []struct {
	eventType, body string
	valid           bool
}{
	{"user.created", `{"userId":"1","name":"Ada","email":"ada@example.com","createdAt":"2026-01-02T03:04:05Z"}`, true},
	{"user.created", `{"userId":"1","name":"","email":"ada@example.com","createdAt":"2026-01-02T03:04:05.678Z"}`, true},
	{"user.created", `{"userId":"1","name":"Ada","email":"ada@example.com","createdAt":"2026-01-02T03:04:05Z","plan":"free"}`, true},
	{"user.created", `{"userId":1,"name":"Ada","email":"ada@example.com","createdAt":"2026-01-02T03:04:05Z"}`, false},
	{"user.created", `{"userId":"1","name":null,"email":"ada@example.com","createdAt":"2026-01-02T03:04:05Z"}`, false},
	{"user.created", `{"userId":"1","name":"Ada","email":"ada","createdAt":"2026-01-02T03:04:05Z"}`, false},
	{"user.created", `{"userId":"1","name":"Ada","email":"ada@example.com","createdAt":"yesterday"}`, false},
	{"user.created", `{"userId":"1","name":"Ada","email":"ada@example.com","createdAt":1767323045}`, false},
	{"user.created", `{"userId":"1","name":"Ada","email":"ada@example.com"}`, false},
	{"user.created", `{}`, false},
	{"user.created", `[]`, false},
	{"user.created", `"x"`, false},
	{"user.updated", `{"userId":"1","changes":{},"updatedBy":"2","updatedAt":"2026-01-02T03:04:05Z"}`, true},
	{"user.updated", `{"userId":"1","changes":{"a":1,"b":[null],"c":{"d":true}},"updatedBy":"2","updatedAt":"2026-01-02T03:04:05Z"}`, true},
	{"user.updated", `{"userId":"1","changes":[],"updatedBy":"2","updatedAt":"2026-01-02T03:04:05Z"}`, false},
	{"user.updated", `{"userId":"1","changes":null,"updatedBy":"2","updatedAt":"2026-01-02T03:04:05Z"}`, false},
	{"user.updated", `{"userId":"1","changes":{},"updatedAt":"2026-01-02T03:04:05Z"}`, false},
	{"user.updated", `{"userId":"1","changes":{},"updatedBy":"2","updatedAt":"2026-13-02T03:04:05Z"}`, false},
	{"order.created", `{"orderId":"1","customerId":"2","items":[{"productId":"p","quantity":2,"price":0.5}],"total":1}`, true},
	{"order.created", `{"orderId":"1","customerId":"2","items":[],"total":1e-9}`, true},
	{"order.created", `{"orderId":"1","customerId":"2","items":null,"total":1}`, false},
	{"order.created", `{"orderId":"1","customerId":"2","items":{},"total":1}`, false},
	{"order.created", `{"orderId":"1","customerId":"2","items":[{"productId":"p","quantity":0,"price":1}],"total":1}`, false},
	{"order.created", `{"orderId":"1","customerId":"2","items":[{"productId":"p","quantity":1,"price":-1}],"total":1}`, false},
	{"order.created", `{"orderId":"1","customerId":"2","items":[{"quantity":1,"price":1}],"total":1}`, false},
	{"order.created", `{"orderId":"1","customerId":"2","items":[1],"total":1}`, false},
	{"order.created", `{"orderId":"1","customerId":"2","items":[],"total":0}`, false},
	{"order.created", `{"orderId":"1","customerId":"2","items":[],"total":"1"}`, false},
	{"order.created", `{"orderId":"1","customerId":"2","items":[]}`, false},
}

func TestTheReadmesSchemasAsStructTags(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	if err := errors.Join(
		validation.AddType[userCreated](r, "user.created"),
		validation.AddType[userUpdated](r, "user.updated"),
		validation.AddType[orderCreatedBody](r, "order.created"),
	); err != nil {
		t.Fatal(err)
	}
	checkReadme(t, r)
}

func TestTheReadmesSchemasAsJSONSchemas(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	if err := errors.Join(
		r.AddSchema("user.created", []byte(`{"type":"object","required":["userId","name","email","createdAt"],"properties":{
			"userId":{"type":"string"},"name":{"type":"string"},"email":{"type":"string","format":"email"},"createdAt":{"type":"string","format":"date-time"}}}`)),
		r.AddSchema("user.updated", []byte(`{"type":"object","required":["userId","changes","updatedBy","updatedAt"],"properties":{
			"userId":{"type":"string"},"changes":{"type":"object"},"updatedBy":{"type":"string"},"updatedAt":{"type":"string","format":"date-time"}}}`)),
		r.AddSchema("order.created", []byte(`{"type":"object","required":["orderId","customerId","items","total"],"properties":{
			"orderId":{"type":"string"},"customerId":{"type":"string"},"total":{"type":"number","exclusiveMinimum":0},
			"items":{"type":"array","items":{"type":"object","required":["productId","quantity","price"],"properties":{
				"productId":{"type":"string"},"quantity":{"type":"number","exclusiveMinimum":0},"price":{"type":"number","exclusiveMinimum":0}}}}}}`)),
	); err != nil {
		t.Fatal(err)
	}
	checkReadme(t, r)
}

// Functions get what a handler would get. A pointer tells what is absent.
func TestTheReadmesSchemasAsFunctions(t *testing.T) {
	r := newRegistry(t, validation.Config{})
	type created struct {
		UserID, Name, Email *string
		CreatedAt           *time.Time
	}
	type updated struct {
		UserID, UpdatedBy *string
		Changes           map[string]any
		UpdatedAt         *time.Time
	}
	type item struct {
		ProductID       *string
		Quantity, Price float64
	}
	type order struct {
		OrderID, CustomerID *string
		Items               []item
		Total               float64
	}
	missing := errors.New("something is missing")
	if err := errors.Join(
		validation.AddTyped(r, "user.created", "complete", func(_ context.Context, u created) error {
			if u.UserID == nil || u.Name == nil || u.Email == nil || u.CreatedAt == nil {
				return missing
			}
			_, err := mail.ParseAddress(*u.Email)
			return err
		}),
		validation.AddTyped(r, "user.updated", "complete", func(_ context.Context, u updated) error {
			if u.UserID == nil || u.Changes == nil || u.UpdatedBy == nil || u.UpdatedAt == nil {
				return missing
			}
			return nil
		}),
		validation.AddTyped(r, "order.created", "complete", func(_ context.Context, o order) error {
			if o.OrderID == nil || o.CustomerID == nil || o.Items == nil {
				return missing
			}
			for _, i := range o.Items {
				if i.ProductID == nil || i.Quantity <= 0 || i.Price <= 0 {
					return errors.New("an item without product, or for nothing")
				}
			}
			if o.Total <= 0 {
				return errors.New("the total is not positive")
			}
			return nil
		}),
	); err != nil {
		t.Fatal(err)
	}
	checkReadme(t, r)
}

func checkReadme(t *testing.T, r *validation.Registry) {
	t.Helper()
	for _, c := range readmeCases {
		if err := r.Validate(t.Context(), c.eventType, []byte(c.body)); (err == nil) != c.valid {
			t.Errorf("%s %s: got %v, want valid %v", c.eventType, c.body, err, c.valid)
		}
	}
}
