package middleware

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

func (c *RetryConfig) handle(msg *message.Message, next message.HandlerFunc) ([]*message.Message, error) {
	r := retrying{RetryConfig: c, ctx: msg.Context()}
	for {
		produced, err := next(msg)
		// What is inside may have left a context here that has ended since, as
		// Watermill's Timeout does.
		msg.SetContext(r.ctx)
		if err == nil {
			return produced, nil
		}
		r.failed()
		if c.Classify != nil {
			if marked := c.Classify(err); marked != nil {
				err = marked
			}
		}
		wait, final := r.decide(err)
		if final == nil {
			if cause := pause(r.ctx, wait); cause != nil {
				final = fmt.Errorf("%w (not tried again: %w)", r.tell(err), opaque(cause))
			}
		}
		if final != nil {
			if !events.IsSnooze(final) {
				r.count()
			}
			return nil, final
		}
	}
}

// retrying is the handling of one delivery. What is below ctx is set at the first failure.
type retrying struct {
	*RetryConfig
	ctx      context.Context
	delivery *transport.Delivery // nil in Watermill's router
	counted  bool                // by the transport, over deliveries
	before   int                 // attempts in earlier deliveries
	failures int                 // of attempts in this one
	begun    time.Time
}

func (r *retrying) failed() {
	if r.failures++; r.failures > 1 {
		return
	}
	d, can := transport.DeliveryFromContext(r.ctx)
	r.delivery, r.begun = d, time.Now()
	if d == nil {
		return
	}
	if r.counted = can.Attempts; r.counted {
		r.before = max(d.Attempt, 1) - 1
	}
	if !d.Stored.IsZero() {
		r.begun = d.Stored
	}
}

// decide returns how long to wait in process for the next attempt, or the error
// that ends them.
func (r *retrying) decide(err error) (wait time.Duration, final error) {
	asked, later := events.RetryDelay(err)
	switch {
	case events.IsPermanent(err), events.IsDiscard(err), events.IsSnooze(err),
		r.delivery != nil && errors.Is(err, ErrInProgress):
		return 0, r.tell(err)
	case r.before+r.failures >= r.MaxAttempts:
		return 0, &attemptsError{r.before + r.failures, err}
	}
	wait = asked
	if !later {
		wait = r.Delay(r.before + r.failures)
	}
	if r.MaxElapsed > 0 && time.Since(r.begun)+wait > r.MaxElapsed {
		return 0, &attemptsError{r.before + r.failures, err}
	}
	if !later && (wait <= r.MaxInProcessDelay || !r.counted) {
		return r.spread(wait), nil
	}
	if !later {
		return 0, events.RetryAfter(r.spread(wait), r.tell(err))
	}
	if wait > r.MaxInProcessDelay && r.delivery != nil {
		return 0, r.tell(err)
	}
	return wait, nil
}

// spread applies Jitter.
func (r *retrying) spread(wait time.Duration) time.Duration {
	if r.Jitter <= 0 {
		return wait
	}
	spread := float64(wait) * (1 + r.Jitter*(2*rand.Float64()-1))
	if !(spread < float64(r.MaxInterval)) { // A long one may overflow.
		return r.MaxInterval
	}
	return time.Duration(spread)
}

// count makes the attempts of this process part of those that the transport counts,
// which adds one for the delivery. What ends with the context costs no attempt here:
// whoever ended it knows what it costs.
func (r *retrying) count() {
	if r.counted && r.failures > 1 && r.ctx.Err() == nil {
		r.delivery.Attempt = r.before + r.failures
	}
}

// tell says how many attempts there were, if more than one.
func (r *retrying) tell(err error) error {
	if n := r.before + r.failures; n > 1 {
		return fmt.Errorf("after %d attempts: %w", n, err)
	}
	return err
}

// attemptsError is the last error, when there shall be no further attempt.
type attemptsError struct {
	attempts int
	error
}

func (e *attemptsError) Error() string {
	if e.attempts == 1 {
		return e.error.Error()
	}
	return fmt.Sprintf("after %d attempts: %v", e.attempts, e.error)
}

func (e *attemptsError) Unwrap() error        { return e.error }
func (e *attemptsError) Is(target error) bool { return target == ErrAttemptsUsedUp }

// pause waits, and returns the cause if ctx ends before.
func pause(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
