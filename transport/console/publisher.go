// Package console is a transport for people and pipes: its publisher prints
// events, its subscriber reads them back from JSON lines.
package console

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// Format says how events are printed.
type Format int

const (
	// Pretty prints an event over several lines. It is the zero value.
	Pretty Format = iota
	// Line prints topic, type, id and body on one line. Here and in Pretty, what is
	// no plain word is quoted as in Go, so that no event can pass for another
	// or command the terminal.
	Line
	// JSON prints one JSON object a line, which NewSubscriber reads:
	// {"topic","id","metadata","body"}. A body that is not compact JSON is "raw",
	// in base64; so is, in "binary", what of the others is not UTF-8.
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
		fmt.Fprintf(&text, "%s %s %s %s\n", word(topic), word(msg.Metadata[events.MetadataType]), word(msg.UUID), oneLine(msg.Payload))
	case JSON:
		line, err := newRecord(topic, msg).line()
		if err != nil {
			return err
		}
		text.Write(line)
	default:
		pretty(&text, topic, msg)
	}
	_, err := p.cfg.Writer.Write(text.Bytes())
	return err
}

// Close makes further calls of Publish fail with events.ErrClosed. It does not
// close the writer and may be called twice.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
