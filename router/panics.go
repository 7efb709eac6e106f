package router

import (
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// recovering turns a panic of fn into an error that whoever calls it sees. It
// is around the handler and around each middleware, so that a retry or a poison
// queue further out deals with a panic of a validator or a store, say, as with
// any other failure. It costs a few nanoseconds and no allocation.
func recovering(fn message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) (produced []*message.Message, err error) {
		defer func() {
			if v := recover(); v != nil {
				produced, err = nil, panicError(v)
			}
		}()
		return fn(msg)
	}
}

// protect calls fn, which is somebody else's code or calls it, and returns its
// panic as an error.
func protect(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError(v)
		}
	}()
	return fn()
}

func panicError(v any) error { return &events.PanicError{Value: v, Stack: debug.Stack()} }
