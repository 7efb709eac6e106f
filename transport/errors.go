package transport

import (
	"errors"
	"fmt"
)

// ErrLeaseLost is the cause with which a delivery's context ends when the
// delivery has gone to another consumer: this one was silent for too long.
var ErrLeaseLost = errors.New("transport: lease lost, the message was given to another consumer")

// SettleError lists the outcomes that could not be applied. Their messages
// stay pending and are delivered again.
type SettleError struct {
	Unsettled []UnsettledOutcome
}

// UnsettledOutcome is one outcome that could not be applied, and why.
type UnsettledOutcome struct {
	Outcome Outcome
	Err     error
}

func (e *SettleError) Error() string {
	if len(e.Unsettled) == 0 {
		return "settle: nothing failed"
	}
	u := e.Unsettled[0]
	s := fmt.Sprintf("settle: %s of %s: %v", u.Outcome.Settlement, u.Outcome.Delivery.describe(), u.Err)
	if n := len(e.Unsettled) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s + ": still pending, will be delivered again"
}

// Unwrap returns the error of each outcome, for errors.Is and errors.As.
func (e *SettleError) Unwrap() []error {
	errs := make([]error, len(e.Unsettled))
	for i, u := range e.Unsettled {
		errs[i] = u.Err
	}
	return errs
}

// describe names a delivery in an error. It may be anything, as the error may be
// about that.
func (d *Delivery) describe() string {
	switch {
	case d == nil:
		return "no delivery"
	case d.Message == nil:
		return fmt.Sprintf("%s, without a message, in %q", d.ID, d.Topic)
	default:
		return fmt.Sprintf("%s in %q", d.Message.UUID, d.Topic)
	}
}
