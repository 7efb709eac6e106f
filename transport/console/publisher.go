// Package console is a transport for people and pipes: its publisher prints
// events, its subscriber reads them back from JSON lines.
package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// Format says how events are printed.
type Format int

const (
	// Pretty prints an event over several lines. It is the zero value.
	Pretty Format = iota
	// Line prints topic, type, id and body on one line.
	Line
	// JSON prints one JSON object a line, which NewSubscriber reads:
	// {"topic","id","metadata","body"}, or "raw" (base64) for a body that is not JSON.
	JSON
)

// PublisherConfig configures [NewPublisher].
type PublisherConfig struct {
	// Writer gets the text, one Write call for each message. Nil means os.Stdout.
	Writer io.Writer
	// Format says how. Zero means Pretty.
	Format Format
}

// Publisher prints messages. It is safe for concurrent use.
type Publisher struct {
	cfg PublisherConfig

	mu     sync.Mutex
	closed bool
}

// NewPublisher returns a Publisher, or a *events.ConfigError.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if cfg.Format < Pretty || cfg.Format > JSON {
		return nil, &events.ConfigError{Field: "console.PublisherConfig.Format", Value: cfg.Format, Problem: "is no format", Remedy: "use console.Pretty, console.Line or console.JSON"}
	}
	if cfg.Writer == nil {
		cfg.Writer = os.Stdout
	}
	return &Publisher{cfg: cfg}, nil
}

// Publish implements message.Publisher. A message that could not be written is
// listed in an *events.PublishError.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("console: publish to %q: publisher %w", topic, events.ErrClosed)
	}
	failed := &events.PublishError{Topic: topic, Total: len(msgs)}
	for _, msg := range msgs {
		if err := p.print(topic, msg); err != nil {
			if msg == nil {
				msg = message.NewMessage("", nil)
			}
			failed.Failed = append(failed.Failed, events.FailedMessage{Topic: topic, Message: msg, Err: err})
		}
	}
	if len(failed.Failed) > 0 {
		return failed
	}
	return nil
}

func (p *Publisher) print(topic string, msg *message.Message) error {
	if msg == nil {
		return errors.New("the message is nil")
	}
	var text bytes.Buffer
	switch p.cfg.Format {
	case Line:
		fmt.Fprintf(&text, "%s %s %s %s\n", topic, msg.Metadata[events.MetadataType], msg.UUID, oneLine(msg.Payload))
	case JSON:
		enc := json.NewEncoder(&text)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(newRecord(topic, msg)); err != nil {
			return err
		}
	default:
		pretty(&text, topic, msg)
	}
	_, err := p.cfg.Writer.Write(text.Bytes())
	return err
}

func pretty(text *bytes.Buffer, topic string, msg *message.Message) {
	fmt.Fprintf(text, "%s  %s  %s\n", msg.Metadata[events.MetadataType], topic, msg.UUID)
	for _, key := range slices.Sorted(maps.Keys(msg.Metadata)) {
		if key != events.MetadataType {
			fmt.Fprintf(text, "  %s: %q\n", key, msg.Metadata[key])
		}
	}
	var body bytes.Buffer
	if json.Indent(&body, msg.Payload, "  ", "  ") == nil {
		fmt.Fprintf(text, "  %s\n", body.Bytes())
	} else {
		fmt.Fprintf(text, "  %q\n", []byte(msg.Payload))
	}
}

// oneLine returns a body such that it cannot break the line or the terminal.
func oneLine(body []byte) string {
	var compact bytes.Buffer
	if json.Compact(&compact, body) == nil {
		return compact.String()
	}
	return fmt.Sprintf("%q", body)
}

// record is one line of the JSON format.
type record struct {
	Topic    string            `json:"topic"`
	ID       string            `json:"id"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Body     json.RawMessage   `json:"body,omitempty"`
	Raw      []byte            `json:"raw,omitempty"`
}

func newRecord(topic string, msg *message.Message) record {
	r := record{Topic: topic, ID: msg.UUID, Metadata: msg.Metadata}
	// Only a body that is written just as it is may go in as JSON: its hash counts.
	var compact bytes.Buffer
	if json.Compact(&compact, msg.Payload) == nil && bytes.Equal(compact.Bytes(), msg.Payload) {
		r.Body = json.RawMessage(msg.Payload)
	} else {
		r.Raw = msg.Payload
	}
	return r
}

// Close makes further calls of Publish fail with events.ErrClosed. It does not
// close the writer and may be called twice.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
