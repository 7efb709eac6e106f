package router

import (
	"context"
	"errors"

	"github.com/logistically/events/transport"
)

// settle applies outcomes until stop is closed and nothing is left. What is
// decided while one Settle call is under way goes out with the next.
func (s *session) settle(ctx context.Context, stop <-chan struct{}) {
	batch := make([]transport.Outcome, 0, cap(s.outcomes))
	for {
		select {
		case o := <-s.outcomes:
			batch = s.gather(append(batch[:0], o))
			s.apply(ctx, batch)
		case <-stop:
			if batch = s.gather(batch[:0]); len(batch) == 0 {
				return
			}
			s.apply(ctx, batch)
		}
	}
}

// gather adds what is decided already, without waiting.
func (s *session) gather(batch []transport.Outcome) []transport.Outcome {
	for len(batch) < cap(batch) {
		select {
		case o := <-s.outcomes:
			batch = append(batch, o)
		default:
			return batch
		}
	}
	return batch
}

func (s *session) apply(ctx context.Context, batch []transport.Outcome) {
	err := protect(func() error { return s.receiver.Settle(ctx, batch...) })
	if err == nil {
		for _, o := range batch {
			s.counts.settled[o.Settlement].Add(1)
		}
		return
	}
	s.log.Error("deliveries are not settled and will be delivered again", "error", err)
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok { // Against the contract: nothing is known, so nothing is claimed.
		s.counts.unsettled.Add(int64(len(batch)))
		return
	}
	unsettled := make(map[*transport.Delivery]bool, len(failed.Unsettled))
	for _, u := range failed.Unsettled {
		unsettled[u.Outcome.Delivery] = true
	}
	for _, o := range batch {
		if unsettled[o.Delivery] {
			s.counts.unsettled.Add(1)
		} else {
			s.counts.settled[o.Settlement].Add(1)
		}
	}
}
