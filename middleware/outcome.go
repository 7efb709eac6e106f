package middleware

import (
	"context"
	"errors"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// outcome is what becomes of a delivery, as far as it can be told from an error: the
// attribute events.outcome, and a word in logs.
type outcome string

const (
	outcomeAck        outcome = "ack"
	outcomeDiscard    outcome = "discard"     // acked, for it is of no use
	outcomeRetry      outcome = "retry"       // failed, comes back
	outcomeSnooze     outcome = "snooze"      // comes back at no cost of an attempt
	outcomeDeadLetter outcome = "dead-letter" // in Watermill's router: an error marked events.Permanent
	outcomeRelease    outcome = "release"     // failed, but after the drain deadline
	outcomeLost       outcome = "lease-lost"  // another consumer has it
	outcomePanic      outcome = "panic"       // whoever recovers it decides
)

// outcomeOf goes by the same rules as package router.
func outcomeOf(ctx context.Context, err error) outcome {
	if err == nil && ctx.Err() == nil { // as nearly always
		return outcomeAck
	}
	cause := context.Cause(ctx)
	switch {
	case errors.Is(cause, transport.ErrLeaseLost):
		return outcomeLost
	case err == nil:
		return outcomeAck
	case events.IsDiscard(err):
		return outcomeDiscard
	case errors.Is(cause, events.ErrReleased):
		return outcomeRelease
	case events.IsSnooze(err):
		return outcomeSnooze
	case events.IsPermanent(err):
		return outcomeDeadLetter
	}
	return outcomeRetry
}
