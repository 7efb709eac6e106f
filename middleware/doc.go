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
//	 1 Tracing         Sees all that follows as one span, and its final error.
//	 2 Metrics         The same for measurements, and Logging for records.
//	   Logging
//	 3 PoisonQueue     Turns what is left of an error into a dead letter. Outside
//	                   Retry, or the first failed attempt would be the last.
//	 4 Throttle        One turn of a key for all attempts.
//	 5 Retry           Repeats what is inside it. Outside Idempotency, which opens
//	                   the way for another attempt only once the failed one is over;
//	                   and inside PoisonQueue, which takes its error as final.
//	 6 CircuitBreaker  Counts each attempt, so that it opens before a message has
//	                   used up its own.
//	 7 RateLimit       A turn for each attempt.
//	 8 Timeout         The time of each attempt, without what the three before it
//	                   wait; outside Retry it is one of all attempts and waits.
//	 9 Recoverer       Inside Retry, which then repeats what panicked. Package router
//	                   has it built in around each middleware and handler.
//	   Upcast          Where events come in several versions: right outside
//	                   Validation, which then checks the version that handlers get.
//	10 Validation      Before Idempotency, so that an invalid event costs no
//	                   round trip to the store. Its error is permanent, so Retry
//	                   stops at once.
//	11 Idempotency     Next to the handler, so that an event is marked as done for
//	                   no other reason than that its handler succeeded.
//	12 the handler
//
// Correlation may be anywhere. Most services need 1, 3, 5 and the handler; add the others
// for what they do. Package router finds some wrong orders by itself (docs/RULES.md), and
// docs/MIDDLEWARE.md says what each middleware does when what it needs is away.
//
// # What errors mean
//
// Errors travel outwards and each middleware reads their class: events.Permanent
// (no retry will mend it), events.RetryAfter (a failed attempt, the next one then),
// events.Snooze (come back then, no attempt is used up), events.Discard (drop it),
// anything else (a failed attempt). Package router settles a
// delivery by what comes out. Watermill's router knows only nil, which acks,
// and an error, which nacks: there a delay that is asked for is not kept, and
// [PoisonQueue] turns events.Discard into nil, so use it.
package middleware
