package middleware

import (
	"errors"
	"fmt"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

var (
	// ErrInProgress says that another consumer is handling the same event, or
	// has died doing so and its claim has not expired yet. See [Idempotency].
	ErrInProgress = errors.New("middleware: idempotency: another consumer is handling this event")

	// ErrNoKey says that a message has nothing to be recognised by. See [Idempotency].
	ErrNoKey = errors.New("middleware: idempotency: the message has no key: publish it with a UUID, or set IdempotencyConfig.Key to something that it has")

	// ErrStoreFull says that all keys of a [MemoryIdempotencyStore] are events
	// being handled at this moment.
	ErrStoreFull = errors.New("middleware: idempotency: the store is full of claims: raise MemoryIdempotencyConfig.MaxKeys over the number of handlers that run at a time")

	// ErrPayloadMismatch says that an event has the key of another one: the
	// store knows the key with another payload. See [Idempotency].
	ErrPayloadMismatch = errors.New("middleware: idempotency: another payload was handled under this key: give each event an id of its own, or mend IdempotencyConfig.Key")

	// ErrClaimLost says that the handler took longer than its claim lasted and
	// another consumer has claimed the event since: raise IdempotencyConfig.Lease
	// over the handler's deadline. It is transport.ErrClaimLost.
	ErrClaimLost = transport.ErrClaimLost

	// ErrAttemptsUsedUp says that [Retry] has made all its attempts, or that there is
	// no time for another one. It is never returned alone: the last error is with it.
	ErrAttemptsUsedUp = errors.New("middleware: retry: the attempts are used up")

	// ErrTimeout is the cause with which [Timeout] ends a context.
	ErrTimeout = errors.New("middleware: timeout: the handler took too long")

	// ErrRateLimited is why [RateLimit] and [Throttle] put a message off.
	ErrRateLimited = errors.New("middleware: rate limit: there is no turn for it soon enough")

	// ErrCircuitOpen is why [CircuitBreaker] puts a message off.
	ErrCircuitOpen = errors.New("middleware: circuit breaker: the circuit is open")

	// ErrTooManyDeliveries is why [PoisonQueue] gives up a message that keeps
	// coming back without having failed for good.
	ErrTooManyDeliveries = errors.New("middleware: poison queue: delivered too often: does handling it end the process, or outlast its lease?")

	// ErrNoPoisonQueue says that a message should be a dead letter and there is
	// no place for it. The message stays where it is.
	ErrNoPoisonQueue = errors.New("middleware: poison queue: this transport has no dead letters of its own: set PoisonConfig.Publisher and PoisonConfig.Topic")
)

func configError(field string, value any, problem, remedy string) *events.ConfigError {
	return &events.ConfigError{Field: "middleware." + field, Value: value, Problem: problem, Remedy: remedy}
}

// opaque is an error that tells what err says but not its class: the failure
// of a helper must not decide what becomes of the message.
func opaque(err error) error {
	_, later := events.RetryDelay(err)
	if later || events.IsPermanent(err) || events.IsDiscard(err) {
		return fmt.Errorf("%v", err)
	}
	return err
}
