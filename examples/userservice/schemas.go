package main

import (
	"errors"
	"time"

	"github.com/logistically/events/validation"
)

// UserCreated is the body of "user.created".
type UserCreated struct {
	UserID    string    `json:"userId"`
	Name      string    `json:"name"`
	Email     string    `json:"email"`
	CreatedAt time.Time `json:"createdAt"`
}

// UserUpdated is the body of "user.updated".
type UserUpdated struct {
	UserID    string         `json:"userId"`
	Changes   map[string]any `json:"changes"`
	UpdatedBy string         `json:"updatedBy"`
	UpdatedAt time.Time      `json:"updatedAt"`
}

// NotificationSent is the body of "notification.sent".
type NotificationSent struct {
	UserID string `json:"userId"`
	Type   string `json:"type"`
	Email  string `json:"email"`
}

// ProfileViewed is the body of "profile.viewed".
type ProfileViewed struct {
	UserID   string    `json:"userId"`
	ViewedAt time.Time `json:"viewedAt"`
}

// AuditLog is the body of "audit.log".
type AuditLog struct {
	Action    string         `json:"action"`
	UserID    string         `json:"userId"`
	Actor     string         `json:"actor"`
	Changes   map[string]any `json:"changes,omitempty"`
	Timestamp time.Time      `json:"timestamp"`
}

func schemas() (*validation.Registry, error) {
	r, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		return nil, err
	}
	return r, errors.Join(
		r.AddSchema("user.created", []byte(`{
			"type": "object",
			"required": ["userId", "name", "email", "createdAt"],
			"properties": {
				"userId": {"type": "string"},
				"name": {"type": "string"},
				"email": {"type": "string", "format": "email"},
				"createdAt": {"type": "string", "format": "date-time"}
			}
		}`)),
		r.AddSchema("user.updated", []byte(`{
			"type": "object",
			"required": ["userId", "changes", "updatedBy", "updatedAt"],
			"properties": {
				"userId": {"type": "string"},
				"changes": {"type": "object"},
				"updatedBy": {"type": "string"},
				"updatedAt": {"type": "string", "format": "date-time"}
			}
		}`)),
		r.AddSchema("profile.viewed", []byte(`{
			"type": "object",
			"required": ["userId", "viewedAt"],
			"properties": {
				"userId": {"type": "string", "minLength": 1},
				"viewedAt": {"type": "string", "format": "date-time"}
			}
		}`)),
	)
}
