package batching

import (
	"context"
	"errors"
	"fmt"

	"github.com/logistically/events"
)

// Flush publishes everything that has been added, without waiting for
// batches to fill, and returns when it is done with or ctx ends. If messages
// are kept as failed then, it returns them as an *events.PublishError.
func (p *Publisher) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ripenAll()
	last := p.last // Those that come later have higher numbers.
	queues := make([]*queue, 0, len(p.queues))
	for _, q := range p.queues {
		queues = append(queues, q)
	}
	for _, q := range queues {
		if err := p.wait(ctx, func() bool { return q.oldest() > last }); err != nil {
			return fmt.Errorf("batching: flush: %w", err)
		}
	}
	if len(p.failed) == 0 {
		return nil
	}
	return &events.PublishError{Topic: p.failed[0].Topic, Total: len(p.failed), Failed: exported(p.failed)}
}

// Close publishes everything that has been added and waits for it, and for a
// RetryFailed that runs. What fails stays in FailedMessages, which is no error of
// Close. From then on Publish returns events.ErrClosed; what failed can still be
// retried. It may be called twice. It does not close the publisher beneath.
func (p *Publisher) Close() error { return p.Shutdown(context.Background()) }

// Shutdown is Close with a limit. When ctx ends, it returns without waiting for
// batches under way, and FailedMessages lists everything that has not been
// published for sure: what no batch has taken, and what is under way. Of the
// latter, FailedMessage.Err says that it may have been published; as soon as the
// result is known, it leaves the list, or its error becomes the real one. In Wait
// mode the callers are told instead.
func (p *Publisher) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.offerRoom(true) // Whoever waits for room learns of it.
	p.ripenAll()
	// A queue exists as long as it has messages, waiting or under way.
	err := p.wait(ctx, func() bool { return len(p.queues) == 0 && p.retry == nil })
	var left map[string][]error
	active := p.active
	if err != nil {
		left = p.giveUp(err)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	for topic, errs := range left {
		p.logFailures(topic, errs)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("batching: shutdown: %w", err)
	if active > 0 {
		err = errors.Join(err, fmt.Errorf("batching: %d batches are still under way", active))
	}
	return err
}

// giveUp moves all messages to where they are reported as failed. It returns the
// errors of those that are kept, by topic. The caller holds the lock.
func (p *Publisher) giveUp(cause error) (kept map[string][]error) {
	notTaken := fmt.Errorf("batching: not published before the end of Shutdown: %w", cause)
	unknown := fmt.Errorf("batching: under way at the end of Shutdown, may have been published: %w", cause)
	kept = map[string][]error{}
	for _, q := range p.queues {
		topic := q.key.topic
		if b := q.underway; b != nil && b.kept == nil && p.cfg.Mode == Buffered {
			b.kept = make([]*failure, len(b.items))
			for i, it := range b.items {
				b.kept[i] = p.done(topic, it, unknown)
				b.kept[i].underway = true
				kept[topic] = append(kept[topic], unknown)
			}
		}
		for q.items.len() > 0 {
			if p.done(topic, q.leave(0), notTaken) != nil {
				kept[topic] = append(kept[topic], notTaken)
			}
		}
		q.proceed()
	}
	p.offerRoom(true)
	if p.retry != nil {
		p.retry.giveUp(unknown)
	}
	p.notify()
	return kept
}
