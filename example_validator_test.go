package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/logistically/events"
	"github.com/logistically/events/transport/memory"
)

// directory validates by what it knows, not by a schema.
type directory map[string]bool // by user id

func (d directory) Validate(ctx context.Context, eventType string, body []byte) error {
	if eventType != "user.created" {
		return nil
	}
	var user struct {
		UserID string `json:"userId"`
		Email  string `json:"email"`
	}
	if err := json.Unmarshal(body, &user); err != nil {
		return refuse(eventType, err.Error())
	}
	switch {
	case user.UserID == "" || user.Email == "":
		return refuse(eventType, "userId and email are required")
	case d[user.UserID]: // A look-up may take a while, and fail: another error than this one is tried again.
		return refuse(eventType, "the user exists already")
	}
	return nil
}

func (d directory) Schema(string) ([]byte, bool) { return nil, false }

func refuse(eventType, why string) error {
	return &events.ValidationError{Type: eventType, Findings: []events.Finding{{Rule: "directory", Message: why}}}
}

// Any type with two methods is a validator.
func ExampleValidator() {
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	if err != nil {
		panic(err)
	}
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "user-service", Validator: directory{"1": true}})
	if err != nil {
		panic(err)
	}
	for _, body := range []map[string]string{{"userId": "2", "email": "ada@example.com"}, {"userId": "2"}, {"userId": "1", "email": "alan@example.com"}} {
		err := publisher.Publish(context.Background(), "user.created", body)
		_, refused := errors.AsType[*events.ValidationError](err)
		fmt.Println(refused, err)
	}
	fmt.Println(len(broker.Messages("user-events")), "published")
	// Output:
	// false <nil>
	// true events: publish refused: event "user.created" is not valid: at body: userId and email are required (directory)
	// true events: publish refused: event "user.created" is not valid: at body: the user exists already (directory)
	// 1 published
}
