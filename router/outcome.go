package router

import (
	"errors"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// DefaultRetryDelay is the delay before the attempt that follows a failed one:
// 1 s after the first, then twice as long each time, up to 1 min. An attempt
// below 1 counts as 1.
func DefaultRetryDelay(attempt int) time.Duration {
	const most = time.Minute
	if attempt < 1 {
		attempt = 1
	}
	if attempt > 6 { // 2^6 s is over a minute.
		return most
	}
	return time.Second << (attempt - 1)
}

// result is how the handling of a delivery ended.
type result struct {
	err   error  // what the chain returned
	cause error  // why the handler's context ended, if it did
	by    string // the pattern of the handler, "" if there was none
}

// verdict is what follows from a result.
type verdict struct {
	outcome transport.Outcome
	drop    bool // nothing to settle: the delivery is somebody else's
	reduced bool // it should be a dead letter, but the transport has none
	snoozed bool // the attempt does not count
}

// decide turns a result into the one outcome of a delivery:
//
//	lease lost                        nothing: another consumer has it
//	nil, events.Discard               ack
//	error after the drain deadline    release: costs no attempt
//	events.RetryAfter(d)              retry after d
//	events.Snooze(d)                  retry after d, at the same attempt
//	events.Permanent                  dead letter; retry where there are none
//	any other error                   retry after delay(attempt)
func decide(d *transport.Delivery, can transport.Capabilities, res result, delay func(attempt int) time.Duration) verdict {
	switch {
	case errors.Is(res.cause, transport.ErrLeaseLost):
		return verdict{drop: true}
	case res.err == nil, events.IsDiscard(res.err):
		return verdict{outcome: d.Ack()}
	case errors.Is(res.cause, events.ErrReleased):
		return verdict{outcome: d.Release()}
	}
	if after, ok := events.RetryDelay(res.err); ok {
		return verdict{outcome: d.Retry(after, res.err), snoozed: events.IsSnooze(res.err)}
	}
	if !events.IsPermanent(res.err) {
		return verdict{outcome: d.Retry(delay(d.Attempt), res.err)}
	}
	if !can.DeadLetter {
		return verdict{outcome: d.Retry(delay(d.Attempt), res.err), reduced: true}
	}
	o := d.DeadLetter(res.err)
	if res.by != "" {
		o.Metadata[transport.MetadataFailureHandler] = res.by
	}
	return verdict{outcome: o}
}
