package middleware

import (
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// Recoverer turns a panic of what is inside it into a *events.PanicError, which has the
// stack: an error like any other, that Retry repeats and PoisonQueue describes. Put it
// inside Retry, next to the handler.
//
// It is for Watermill's router. Package router does the same around each handler and each
// middleware; there it changes nothing. It has no configuration and cannot fail;
// runtime.Goexit and fatal errors of the runtime, such as a concurrent map write, pass
// through it.
//
//go:noinline
func Recoverer() message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) (produced []*message.Message, err error) {
			defer func() {
				if v := recover(); v != nil {
					produced, err = nil, &events.PanicError{Value: v, Stack: debug.Stack()}
				}
			}()
			return next(msg)
		}
	}
}
