package middlewaretest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// limit is how long a call may take.
const limit = 20 * time.Second

var errHandler = errors.New("the handler's error")

var messages atomic.Int64

// newMessage makes a message like no other, in the context that package router gives it.
func newMessage() *message.Message {
	id := fmt.Sprintf("middlewaretest-%d", messages.Add(1))
	msg := message.NewMessage(id, []byte(`{"n":1}`))
	events.SetHeader(msg, events.Header{ID: id, Type: "test.ran", Origin: "middlewaretest", Version: events.DefaultVersion})
	d := &transport.Delivery{Message: msg, Topic: "test-events", ID: id, Attempt: 1, Stored: time.Now()}
	ctx := transport.ContextWithDelivery(context.Background(), d, transport.Capabilities{DeadLetter: true, Attempts: true})
	msg.SetContext(events.ContextWithHeader(ctx, events.HeaderOf(msg)))
	return msg
}

// plainMessage makes one in the context that Watermill's router gives it.
func plainMessage() *message.Message {
	msg := newMessage()
	msg.SetContext(context.Background())
	return msg
}

// result is how a call ended.
type result struct {
	produced []*message.Message
	err      error
	panicked any
}

var errHangs = fmt.Errorf("it did not return within %v", limit)

// call runs a handler. It returns errHangs if that does not return.
func call(handle message.HandlerFunc, msg *message.Message) (result, error) {
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			r.panicked = recover()
			done <- r
		}()
		r.produced, r.err = handle(msg)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r, nil
	case <-timer.C:
		return result{}, errHangs
	}
}

// on calls what build makes, around a handler, for a message.
func on(build Build, msg *message.Message, handle message.HandlerFunc) (result, error) {
	mw := build()
	if mw == nil {
		return result{}, errors.New("there is no middleware: it is nil")
	}
	return call(mw(handle), msg)
}

// both runs a check in the context of either router.
func both(check func(msg *message.Message) error) error {
	if err := check(newMessage()); err != nil {
		return err
	}
	if err := check(plainMessage()); err != nil {
		return fmt.Errorf("in Watermill's router: %w", err)
	}
	return nil
}
