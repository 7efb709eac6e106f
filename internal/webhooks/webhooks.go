// Package webhooks holds 249 real events of 121 types with their JSON Schemas,
// as input of tests, examples and benchmarks. testdata/README.md says where
// they come from.
package webhooks

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

//go:embed testdata/github-webhooks.ndjson.gz
var eventsGz []byte

//go:embed testdata/github-webhooks.schema.json.gz
var schemaGz []byte

// Event is one recorded webhook.
type Event struct {
	Type       string          `json:"type"`       // such as "issues.opened"
	Definition string          `json:"definition"` // its schema's name under "definitions", such as "issues$opened"
	Valid      bool            `json:"valid"`      // the reference verdict
	Errors     []string        `json:"errors"`     // if not valid: "<JSON pointer> <keyword>" of each fault
	Body       json.RawMessage `json:"body"`
}

// Load returns all events, in a fixed order.
func Load() ([]Event, error) {
	data, err := gunzip(eventsGz)
	if err != nil {
		return nil, err
	}
	var all []Event
	for dec := json.NewDecoder(bytes.NewReader(data)); ; {
		var e Event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("webhooks: event %d: %w", len(all), err)
		}
		all = append(all, e)
	}
}

// Schema returns the JSON Schema document (draft-07) that describes all types.
func Schema() ([]byte, error) { return gunzip(schemaGz) }

func gunzip(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("webhooks: %w", err)
	}
	return out, r.Close()
}
