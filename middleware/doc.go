// Package middleware holds middleware for message handlers: one file, one
// middleware. All of them are plain message.HandlerMiddleware, so they run in
// package router and in Watermill's own router, beside Watermill's middleware.
// Every constructor refuses a wrong configuration by a *events.ConfigError.
//
// # Order
//
// Middleware that is added first is outermost. This order works; the reason
// says what breaks in another one:
//
//	1 Tracing      Sees all that follows as one span, and its final error.
//	2 PoisonQueue  Turns what is left of an error into a dead letter. Outside
//	               Retry, or the first failed attempt would be the last.
//	3 Retry        Repeats what is inside it. Outside Idempotency, which opens
//	               the way for another attempt only once the failed one is over;
//	               and inside PoisonQueue, which takes its error as final.
//	  Upcast       Where events come in several versions: right outside
//	               Validation, which then checks the version that handlers get.
//	4 Validation   Before Idempotency, so that an invalid event costs no
//	               round trip to the store. Its error is permanent, so Retry
//	               stops at once.
//	5 Idempotency  Next to the handler, so that an event is marked as done for
//	               no other reason than that its handler succeeded.
//	6 the handler
//
// A middleware that turns panics into errors belongs inside Retry; package
// router has that built in around each handler, Watermill's router needs one.
// A timeout inside Retry is one of each attempt, outside Retry one of them all.
//
// # What errors mean
//
// Errors travel outwards and each middleware reads their class: events.Permanent
// (no retry will mend it), events.RetryAfter (come back later), events.Discard
// (drop it), anything else (a failed attempt). Package router settles a
// delivery by what comes out. Watermill's router knows only nil, which acks,
// and an error, which nacks: there a delay that is asked for is not kept, and
// [PoisonQueue] turns events.Discard into nil, so use it.
package middleware
