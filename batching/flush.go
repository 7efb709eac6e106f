package batching

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// MemoryStats is what a Publisher holds.
type MemoryStats struct {
	Queues        int `json:"queueCount"`         // batch names with messages
	Messages      int `json:"totalMessages"`      // waiting or under way
	Bytes         int `json:"totalBytes"`         // of their payloads
	Failed        int `json:"failedMessageCount"` // kept for RetryFailed
	ActiveBatches int `json:"activeBatches"`      // under way
}

// MemoryStats returns what is held at this moment.
func (p *Publisher) MemoryStats() MemoryStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return MemoryStats{len(p.queues), p.held, p.bytes, len(p.failed), p.active}
}

// FailedMessages returns what failed in Buffered mode, oldest first, and has not
// been sent since.
func (p *Publisher) FailedMessages() []events.FailedMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.failed)
}

// Flush publishes everything that has been added, without waiting for
// batches to fill, and returns when it is done with or ctx ends. If messages
// are kept as failed then, it returns them as an *events.PublishError.
func (p *Publisher) Flush(ctx context.Context) error {
	p.mu.Lock()
	targets := make(map[*queue]int, len(p.queues))
	for _, q := range p.queues {
		targets[q] = q.added
		q.flush()
	}
	for {
		for q, target := range targets {
			if q.settled >= target {
				delete(targets, q)
			}
		}
		if len(targets) == 0 {
			break
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("batching: flush: %w", context.Cause(ctx))
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	if len(p.failed) == 0 {
		return nil
	}
	return &events.PublishError{Topic: p.failed[0].Topic, Total: len(p.failed), Failed: slices.Clone(p.failed)}
}

// RetryFailed publishes the failed messages again, in order, in calls of at most
// MaxSize messages of one topic. What fails again is kept again, and returned
// as an *events.PublishError. What went out before is not sent again.
func (p *Publisher) RetryFailed(ctx context.Context) error {
	p.mu.Lock()
	failed := p.failed
	p.failed = nil
	p.mu.Unlock()
	var again []events.FailedMessage
	for start := 0; start < len(failed); {
		end := start + 1
		for end < len(failed) && end-start < p.cfg.MaxSize && failed[end].Topic == failed[start].Topic {
			end++
		}
		again = append(again, p.retry(ctx, failed[start:end])...)
		start = end
	}
	if len(again) == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = append(slices.Clone(again), p.failed...)
	return &events.PublishError{Topic: again[0].Topic, Total: len(failed), Failed: again}
}

func (p *Publisher) retry(ctx context.Context, part []events.FailedMessage) (again []events.FailedMessage) {
	if ctx.Err() != nil {
		return part
	}
	q := &queue{p: p, key: queueKey{topic: part[0].Topic}}
	batch := make([]item, len(part))
	for i, f := range part {
		batch[i] = item{msg: f.Message}
	}
	for i, err := range q.publish(batch) {
		if err != nil {
			again = append(again, events.FailedMessage{Topic: part[i].Topic, Message: part[i].Message, Err: err})
		}
	}
	return again
}

// Close publishes everything that has been added and waits for it. What
// fails stays in FailedMessages, which is no error of Close. From then on Publish
// returns events.ErrClosed. It may be called twice. It does not close the
// publisher beneath.
func (p *Publisher) Close() error { return p.Shutdown(context.Background()) }

// Shutdown is Close with a limit: when ctx ends, what no batch has taken yet is
// moved to FailedMessages, and Shutdown returns without waiting for batches
// under way.
func (p *Publisher) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	close(p.changed) // Whoever waits for room learns of it.
	p.changed = make(chan struct{})
	p.mu.Unlock()
	err := p.Flush(ctx)
	if err == nil || ctx.Err() == nil {
		p.running.Wait()
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.queues {
		rest := q.items
		q.items, q.bytes, q.fresh = nil, 0, 0
		q.stopTimer()
		if len(rest) > 0 {
			bytes := 0
			for _, it := range rest {
				bytes += len(it.msg.Payload)
			}
			q.settle(rest, bytes, slices.Repeat([]error{fmt.Errorf("batching: not published before the end of Shutdown: %w", context.Cause(ctx))}, len(rest)))
		}
	}
	return errors.Join(err, p.unfinished())
}

func (p *Publisher) unfinished() error {
	if p.active == 0 {
		return nil
	}
	return fmt.Errorf("batching: %d batches are still under way", p.active)
}

var _ message.Publisher = (*Publisher)(nil)
