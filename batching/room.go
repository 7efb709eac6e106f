package batching

import (
	"context"
	"fmt"

	"github.com/logistically/events"
)

// hasRoom reports whether n more messages with so many bytes can be held.
func (p *Publisher) hasRoom(n, bytes int) bool {
	return p.held+len(p.failed)+n <= p.cfg.MaxBuffered && p.bytes+p.failedBytes+bytes <= p.cfg.MaxBufferedBytes
}

// makeRoom returns nil when there is room for a message with so many bytes, or
// else why it is refused. The caller holds the lock, which is given up meanwhile.
func (p *Publisher) makeRoom(ctx context.Context, bytes int) error {
	for !p.closed && !p.hasRoom(1, bytes) {
		p.ripenAll()
		if p.cfg.Full == ErrorWhenFull {
			return fmt.Errorf("%w: %d messages with %d bytes are held, %d with %d bytes are kept as failed: publish less at a time, or see FailedMessages",
				ErrBufferFull, p.held, p.bytes, len(p.failed), p.failedBytes)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("batching: waiting for room: %w", context.Cause(ctx))
		}
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		p.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
		p.mu.Lock()
	}
	if p.closed {
		return fmt.Errorf("batching: publisher %w", events.ErrClosed)
	}
	return nil
}

// offerRoom wakes those who wait for room: always if no more is to come soon,
// or else when there is enough for several messages of each. To wake them for
// every place that becomes free costs more than to publish what they bring. The
// caller holds the lock.
func (p *Publisher) offerRoom(always bool) {
	if p.room == nil {
		return
	}
	enough := p.held+len(p.failed) <= p.cfg.MaxBuffered-p.cfg.MaxBuffered/16 &&
		p.bytes+p.failedBytes <= p.cfg.MaxBufferedBytes-p.cfg.MaxBufferedBytes/16
	if always || enough {
		close(p.room)
		p.room = nil
	}
}
