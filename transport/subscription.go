package transport

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// settleTimeout bounds what a subscription that has ended spends on outcomes that
// are decided but not yet settled.
const settleTimeout = 5 * time.Second

var (
	errNacked     = errors.New("nacked by the subscriber")
	errNotSettled = errors.New("the subscription has ended and the transport did not settle in time")
)

// subscription passes on what its receiver delivers until its context ends.
type subscription struct {
	receiver Receiver
	cfg      SubscriberConfig
	out      chan *message.Message
	slots    chan struct{} // holds one token for each message in flight
	outcomes chan Outcome
	waiting  sync.WaitGroup // one for each message in flight
}

// run returns when ctx has ended, or the receiver has, and all is settled. end
// ends ctx.
func (s *subscription) run(ctx context.Context, end context.CancelFunc) {
	defer close(s.out)
	settled := make(chan struct{})
	var settling sync.WaitGroup
	settleCtx, giveUp := context.WithCancelCause(context.Background())
	settling.Go(func() {
		defer close(settled)
		s.settle(settleCtx)
	})
	settling.Go(func() { giveUpAfter(ctx, settled, giveUp) })
	s.deliver(ctx)
	s.waiting.Wait() // Where the receiver has ended and ctx has not: for all to be acked.
	close(s.outcomes)
	end()
	settling.Wait()
	if err := s.receiver.Close(); err != nil {
		s.cfg.Logger.Error("close receiver", "error", err)
	}
}

// giveUpAfter gives up settling some time after ctx has ended. Until then an
// outcome has all the time that a server needs to come back.
func giveUpAfter(ctx context.Context, settled <-chan struct{}, giveUp context.CancelCauseFunc) {
	defer giveUp(nil)
	<-ctx.Done()
	timer := time.NewTimer(settleTimeout)
	defer timer.Stop()
	select {
	case <-settled:
	case <-timer.C:
		giveUp(errNotSettled)
	}
}

func (s *subscription) deliver(ctx context.Context) {
	for {
		// One slot before receiving, the others as they are free: a page is
		// never larger than what may be in flight.
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		free := 1 + cap(s.slots) - len(s.slots)
		deliveries, err := s.receiver.Receive(ctx, free)
		if err != nil {
			if ctx.Err() == nil {
				s.cfg.Logger.Error("subscription ends: receive failed", "error", err)
			}
			return
		}
		for i, d := range deliveries {
			if i > 0 {
				s.slots <- struct{}{} // Only deliver takes slots, so one is free.
			}
			if !s.hand(ctx, d) {
				return // Closing the receiver releases the rest of the page.
			}
		}
		if len(deliveries) == 0 {
			<-s.slots
		}
	}
}

// hand passes one delivery on and sees to its settlement in the background.
func (s *subscription) hand(ctx context.Context, d *Delivery) bool {
	// A message of its own: that of a delivery need not have the channels that tell
	// of its ack, and its context stays what it is.
	msg := message.NewMessage(d.Message.UUID, d.Message.Payload)
	msg.Metadata = d.Message.Metadata
	lost := d.Message.Context()
	msgCtx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(lost, func() { cancel(context.Cause(lost)) })
	msg.SetContext(msgCtx)
	select {
	case s.out <- msg:
	case <-ctx.Done():
		stop()
		cancel(nil)
		return false
	}
	s.waiting.Go(func() {
		defer func() { <-s.slots }()
		defer cancel(nil)
		defer stop()
		select {
		case <-msg.Acked():
			s.outcomes <- d.Ack()
		case <-msg.Nacked():
			s.outcomes <- d.Retry(s.cfg.NackDelay, errNacked)
		case <-lost.Done():
			cancel(context.Cause(lost)) // Before the deferred one, which has no cause.
		case <-ctx.Done():
			// Decided and ended at the same moment: what was decided counts.
			select {
			case <-msg.Acked():
				s.outcomes <- d.Ack()
			case <-msg.Nacked():
				s.outcomes <- d.Retry(s.cfg.NackDelay, errNacked)
			default:
			}
		}
	})
	return true
}

// settle gathers what is decided at the same moment into one call. Its context
// outlives the subscription's: what was acked before the end must not come back.
func (s *subscription) settle(ctx context.Context) {
	batch := make([]Outcome, 0, cap(s.outcomes))
	for o := range s.outcomes {
		batch = append(batch[:0], o)
		for more := true; more && len(batch) < cap(batch); {
			select {
			case o, ok := <-s.outcomes:
				if more = ok; ok {
					batch = append(batch, o)
				}
			default:
				more = false
			}
		}
		if err := s.receiver.Settle(ctx, batch...); err != nil {
			s.cfg.Logger.Error("settle failed", "error", err)
		}
	}
}
