package batching

import (
	"container/list"
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// Publisher gathers messages into batches, each of which is one Publish call of
// the publisher beneath. It is safe for concurrent use. Messages must not be
// changed after Publish has been called with them.
type Publisher struct {
	next  message.Publisher
	cfg   Config
	slots chan struct{} // one token for each batch under way

	mu        sync.Mutex
	closed    bool
	last      uint64              // number of the message that was added last
	queues    map[queueKey]*queue // those with messages
	gathering *list.List          // of queues: see gather.go
	timer     *time.Timer
	timerSet  bool
	held      int // messages that wait or are under way
	bytes     int // of their payloads
	active    int // batches under way
	failed    []*failure
	retry     *retry        // that runs
	changed   chan struct{} // closed by notify; nil if nobody waits
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a Publisher over next, or a *events.ConfigError. It
// never closes next, but must be closed itself, before it.
func NewPublisher(next message.Publisher, cfg Config) (*Publisher, error) {
	if nilcheck.IsNil(next) {
		return nil, &events.ConfigError{Field: "batching.NewPublisher next", Value: next, Problem: "is nil", Remedy: "pass the publisher that batches go to"}
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Publisher{
		next: next, cfg: cfg,
		slots:     make(chan struct{}, cfg.MaxConcurrentBatches),
		queues:    map[queueKey]*queue{},
		gathering: list.New(),
	}, nil
}

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

// Publish implements message.Publisher; Config.Mode says what its error means.
// Messages whose context ends before they are part of a batch, in Wait
// mode, are not published. After Close it returns events.ErrClosed.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	for _, msg := range msgs {
		if msg == nil {
			return fmt.Errorf("batching: publish to %q: a message is nil", topic)
		}
	}
	if p.cfg.Mode == Wait {
		return p.publishAndWait(topic, msgs)
	}
	for i, msg := range msgs {
		if err := p.add(topic, item{msg: msg}); err != nil {
			return refused(topic, msgs[i:], len(msgs), err)
		}
	}
	return nil
}

// refused says which messages a buffering Publish did not take over.
func refused(topic string, rest []*message.Message, total int, err error) error {
	failed := &events.PublishError{Topic: topic, Total: total}
	for _, msg := range rest {
		failed.Failed = append(failed.Failed, events.FailedMessage{Topic: topic, Message: msg, Err: err})
	}
	return failed
}

// add queues one message, when there is room for it.
func (p *Publisher) add(topic string, it item) error {
	key, err := p.key(topic, it.msg)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && !p.hasRoom() {
		if p.cfg.Full == ErrorWhenFull {
			return fmt.Errorf("%w: %d messages are held and %d are kept as failed", ErrBufferFull, p.held, len(p.failed))
		}
		if err := p.wait(it.msg.Context(), func() bool { return p.closed || p.hasRoom() }); err != nil {
			return fmt.Errorf("batching: waiting for room: %w", err)
		}
	}
	if p.closed {
		return fmt.Errorf("batching: publisher %w", events.ErrClosed)
	}
	p.held++
	p.bytes += len(it.msg.Payload)
	p.last++
	it.number = p.last
	q := p.queues[key]
	if q == nil {
		q = &queue{p: p, key: key}
		p.queues[key] = q
	}
	q.add(it)
	if !p.hasRoom() {
		p.ripenAll()
	}
	return nil
}

func (p *Publisher) hasRoom() bool { return p.held+len(p.failed) < p.cfg.MaxBuffered }

// key asks the strategy, whose panic is the message's error.
func (p *Publisher) key(topic string, msg *message.Message) (key queueKey, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("batching: Config.Strategy: %w", &events.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	return queueKey{topic, p.cfg.Strategy(topic, msg)}, nil
}

// wait returns nil as soon as done reports true, or why ctx has ended. The
// caller holds the lock, which is given up meanwhile.
func (p *Publisher) wait(ctx context.Context, done func() bool) error {
	for !done() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if p.changed == nil {
			p.changed = make(chan struct{})
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		p.mu.Lock()
	}
	return nil
}

// notify has whoever waits look again. The caller holds the lock.
func (p *Publisher) notify() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}
