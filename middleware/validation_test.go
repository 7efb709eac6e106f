package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
)

// validatorFunc is an events.Validator without schemas.
type validatorFunc func(ctx context.Context, eventType string, body []byte) error

func (f validatorFunc) Validate(ctx context.Context, eventType string, body []byte) error {
	return f(ctx, eventType, body)
}
func (validatorFunc) Schema(string) ([]byte, bool) { return nil, false }

func TestValidation(t *testing.T) {
	invalid := &events.ValidationError{Type: "user.created", Findings: []events.Finding{{Pointer: "/n", Rule: "type", Message: "is no text"}}}
	for name, c := range map[string]struct {
		mode    events.ValidationMode
		finding error
		runs    int
		want    func(error) bool
		logged  bool
	}{
		"valid":            {events.Strict, nil, 1, func(err error) bool { return err == nil }, false},
		"strict":           {events.Strict, invalid, 0, func(err error) bool { return events.IsPermanent(err) && errors.Is(err, invalid) }, false},
		"strict, wrapped":  {events.Strict, fmt.Errorf("at: %w", invalid), 0, func(err error) bool { return events.IsPermanent(err) && errors.Is(err, invalid) }, false},
		"warn":             {events.Warn, invalid, 1, func(err error) bool { return err == nil }, true},
		"ignore":           {events.Ignore, invalid, 1, func(err error) bool { return err == nil }, false},
		"own failure":      {events.Strict, errBoom, 0, func(err error) bool { return err == errBoom }, false},
		"own failure/warn": {events.Warn, errBoom, 0, func(err error) bool { return err == errBoom }, false},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			v := validatorFunc(func(_ context.Context, eventType string, body []byte) error {
				if eventType != "user.created" || string(body) != `{"n":1}` {
					t.Errorf("validates %s %s", eventType, body)
				}
				return c.finding
			})
			mw, err := middleware.Validation(v, middleware.ValidationConfig{Mode: c.mode, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			must(t, err)
			h := &handler{}
			if _, err := mw(h.handle)(newMessage("1")); !c.want(err) || h.runs != c.runs {
				t.Errorf("got %v after %d runs, want %d", err, h.runs, c.runs)
			}
			if strings.Contains(log.String(), "is no text") != c.logged {
				t.Errorf("logged: %s", log.String())
			}
		})
	}
}

func TestValidationRefuses(t *testing.T) {
	_, err := middleware.Validation(nil, middleware.ValidationConfig{})
	wantConfigError(t, "no validator", err)
	_, err = middleware.Validation(validatorFunc(nil), middleware.ValidationConfig{Mode: 7})
	wantConfigError(t, "mode", err)
}

func TestValidationInWatermillsRouter(t *testing.T) {
	v := validatorFunc(func(_ context.Context, eventType string, body []byte) error {
		if string(body) == "bad" {
			return &events.ValidationError{Type: eventType}
		}
		return nil
	})
	mw, err := middleware.Validation(v, middleware.ValidationConfig{})
	must(t, err)
	dead := &recorder{}
	poison, err := middleware.PoisonQueue(middleware.PoisonConfig{Publisher: dead, Topic: "dead"})
	must(t, err)
	ran := make(chan *message.Message, 2)
	bad := newMessage("bad")
	bad.Payload = []byte("bad")
	h := func(msg *message.Message) ([]*message.Message, error) { ran <- msg; return nil, nil }
	watermillRun(t, newPubSub(true), h, []message.HandlerMiddleware{poison, mw}, func() {
		if id := receive(t, ran).UUID; id != "good" {
			t.Errorf("%q was handled", id)
		}
	}, bad, newMessage("good"))
	if len(dead.messages) != 1 || dead.messages[0].UUID != "bad" {
		t.Errorf("dead letters: %v", dead.messages)
	}
}

// parser is an events.ParsingValidator.
type parser struct{ validatorFunc }

func (p parser) Parse(ctx context.Context, eventType string, body []byte) (any, bool, error) {
	return map[string]any{"n": json.Number("7")}, true, p.Validate(ctx, eventType, body)
}

// The handler gets what the validator has parsed: the value is not that of the text.
func TestValidationHandsOnWhatItHasParsed(t *testing.T) {
	type body struct {
		N int `json:"n"`
	}
	said := error(nil)
	mw, err := middleware.Validation(parser{func(context.Context, string, []byte) error { return said }}, middleware.ValidationConfig{Mode: events.Warn, Logger: silent})
	must(t, err)
	want := 7
	handle := mw(func(msg *message.Message) ([]*message.Message, error) {
		if e, err := events.Decode[body](msg, nil); err != nil || e.Body.N != want {
			t.Errorf("decodes %v %v, want %d", e.Body, err, want)
		}
		return nil, nil
	})
	msg := newMessage("1")
	outside := msg.Context()
	_, err = handle(msg)
	must(t, err)
	if msg.Context() != outside {
		t.Error("the context outside is not the one that it was")
	}
	// What was refused is not handed on, also where it is only warned of.
	said, want = &events.ValidationError{}, 1
	_, err = handle(msg)
	must(t, err)
}
