// Package transport says what the router asks of a transport beyond
// Watermill's Publisher and Subscriber: deliveries in bulk, and for each of
// them one of four settlements. It does no I/O.
//
// A transport's subscriber implements message.Subscriber and, if it can do
// more than ack and nack, [Source]. Package transporttest checks both.
package transport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Source is a subscriber that can hand over deliveries in bulk. The router
// prefers it to message.Subscriber.
type Source interface {
	// Receiver opens a receiver on the given topics. Topics and groups that do
	// not exist yet are created. It returns an error that wraps an
	// *events.ConfigError for topics that CheckTopics refuses, and one that wraps
	// events.ErrClosed after the subscriber's Close.
	Receiver(topics ...string) (Receiver, error)
}

// Receiver hands over deliveries and settles them. All methods may be called
// concurrently.
type Receiver interface {
	// Receive blocks until at least one delivery is there and returns at most
	// max of them, max being at least 1. It returns an error that wraps ctx's
	// when ctx ends, and one that wraps events.ErrClosed after Close. It deals
	// with passing faults (a lost connection, a vanished group) by itself: it
	// waits and tries again. An entry that cannot be decoded is never handed
	// over: the transport moves it, raw, to the dead letters.
	//
	// Until it is settled, a delivery stays this receiver's: its lease is kept
	// alive. If the lease is lost all the same, the context of its message
	// ends with cause ErrLeaseLost. That context must not end for any other reason
	// before the delivery is settled or the receiver closed.
	Receive(ctx context.Context, max int) ([]*Delivery, error)

	// Settle applies outcomes, each atomically, in as few round trips as it
	// can. Passing faults are retried until ctx ends. Its error, if any, is a
	// *SettleError that lists what is not settled: those deliveries stay
	// pending and are delivered again, to anyone, once their lease has run out.
	// An outcome that [Outcome.Check] refuses is one of them; the others of its
	// call are applied all the same. A delivery may be settled once; settling one whose lease is lost is no
	// error and changes nothing.
	Settle(ctx context.Context, outcomes ...Outcome) error

	// Capabilities tells what Settle can do. It is constant.
	Capabilities() Capabilities

	// Close stops receiving and releases what was received and not settled. It
	// may be called twice, and never closes what the caller opened.
	Close() error
}

// Capabilities tells which settlements a receiver has beyond ack and nack.
type Capabilities struct {
	// DeadLetter: DeadLetter stores the message with its failure in the dead
	// letters and acks it, in one step. Without it, DeadLetter only nacks.
	DeadLetter bool
	// Attempts: Delivery.Attempt is counted across consumers and restarts.
	// Without it, it is always 1.
	Attempts bool
}

// Delivery is one message on its way to a handler.
type Delivery struct {
	// Message is what was published. It is settled by Settle alone: its methods Ack
	// and Nack tell nobody, and its channels Acked and Nacked may be nil.
	Message *message.Message
	Topic   string    // as it was passed to Receiver
	ID      string    // the transport's own id of the entry
	Stored  time.Time // when the transport first stored the message; zero if unknown

	// Attempt is 1 at the first delivery, and one more after each Retry and each
	// lost lease. A transport that reads ahead counts a lease that was lost
	// before the message was handed over too, as it cannot know: after crashes,
	// handlers may have seen a message less often than Attempt says. A release,
	// that of Close included, is not counted.
	//
	// Who holds a delivery and tries it again without settling it raises Attempt, as
	// the router does in ordered lanes. A receiver goes by what it is when the
	// delivery is settled or released; it keeps no count of its own.
	Attempt int

	// Receipt is the transport's own: by it Settle knows what it handed over. It may
	// be a [Committer].
	Receipt any

	lot   *Lot // set before it is handled
	place int  // in lot
}

// Settlement is what becomes of a delivery.
type Settlement int

const (
	// Ack: handled, or of no use. The message is done with.
	Ack Settlement = iota + 1
	// Retry: to be delivered again to this group, After from now, Attempt one higher.
	Retry
	// DeadLetter: given up on. Stored with its failure for people to look at.
	DeadLetter
	// Release: not handled for reasons of our own. Given back at once, to
	// anyone in this group, Attempt as it was.
	Release
)

func (s Settlement) String() string {
	switch s {
	case Ack:
		return "ack"
	case Retry:
		return "retry"
	case DeadLetter:
		return "dead-letter"
	case Release:
		return "release"
	}
	return "none"
}

// Outcome is the one decision about a delivery. Make it with the methods of [Delivery].
type Outcome struct {
	Delivery   *Delivery
	Settlement Settlement
	After      time.Duration    // Retry: how long to wait; at least 0
	Cause      error            // Retry, DeadLetter: why
	Metadata   message.Metadata // DeadLetter: added to the stored message's
	Produced   *Produced        // Ack: published in the same step; nil: nothing. See [Committer]
}

// Check returns an error if o is nothing that a receiver can apply: if it is of
// no delivery, or its settlement is none of the four.
func (o Outcome) Check() error {
	switch {
	case o.Delivery == nil || o.Delivery.Message == nil:
		return errors.New("the outcome is of no delivery: make outcomes with the methods of a Delivery that was received")
	case o.Settlement < Ack || o.Settlement > Release:
		return fmt.Errorf("settlement %d is none of Ack, Retry, DeadLetter and Release: make outcomes with the methods of Delivery", o.Settlement)
	}
	return nil
}

// Ack returns the outcome that the message was handled.
func (d *Delivery) Ack() Outcome { return Outcome{Delivery: d, Settlement: Ack} }

// Retry returns the outcome that the message shall come back after a time.
func (d *Delivery) Retry(after time.Duration, cause error) Outcome {
	return Outcome{Delivery: d, Settlement: Retry, After: max(after, 0), Cause: cause}
}

// DeadLetter returns the outcome that the message is given up on. The failure
// is described by [FailureMetadata].
func (d *Delivery) DeadLetter(cause error) Outcome {
	return Outcome{Delivery: d, Settlement: DeadLetter, Cause: cause, Metadata: FailureMetadata(d, cause)}
}

// Release returns the outcome that the message is given back untouched.
func (d *Delivery) Release() Outcome { return Outcome{Delivery: d, Settlement: Release} }
