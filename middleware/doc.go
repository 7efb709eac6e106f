// Package middleware is what handlers are composed with. Everything here is a
// message.HandlerMiddleware: it works in package router and in Watermill's own
// Router.
//
// The order to start from, outermost first:
//
//	Tracing      the span covers all attempts and knows the final outcome
//	PoisonQueue  what reaches it is final: outside of Retry
//	Retry        repeats what is inside
//	Validation   an invalid body is permanent: Retry stops at once
//	Idempotency  next to the handler: an attempt that failed may run again
//
// A middleware says what shall become of a message by the class of the error it
// returns (events.Permanent, events.RetryAfter, events.Discard); the router
// carries that out. Watermill's Router knows ack and nack only: there, any error
// is a nack.
package middleware
