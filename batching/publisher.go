package batching

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// Publisher gathers messages into batches, each of which is one Publish call of
// the publisher beneath. It is safe for concurrent use. Messages must not be
// changed after Publish has been called with them.
type Publisher struct {
	next message.Publisher
	cfg  Config

	slots   chan struct{}  // one token for each batch under way
	running sync.WaitGroup // of the queues' goroutines

	mu      sync.Mutex
	closed  bool
	queues  map[queueKey]*queue
	held    int // messages that wait or are under way
	bytes   int // of their payloads
	active  int // batches under way
	failed  []events.FailedMessage
	changed chan struct{} // closed, and replaced, when messages are done with
}

// NewPublisher returns a Publisher over next, or a *events.ConfigError. It
// never closes next, but must be closed itself, before it.
func NewPublisher(next message.Publisher, cfg Config) (*Publisher, error) {
	if next == nil {
		return nil, &events.ConfigError{Field: "batching.NewPublisher next", Value: nil, Problem: "is nil", Remedy: "pass the publisher that batches go to"}
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	return &Publisher{
		next: next, cfg: cfg,
		slots:   make(chan struct{}, cfg.MaxConcurrentBatches),
		queues:  map[queueKey]*queue{},
		changed: make(chan struct{}),
	}, nil
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
	var call *call
	if p.cfg.Mode == Wait {
		call = newCall(len(msgs))
	}
	for i, msg := range msgs {
		if err := p.add(topic, item{msg: msg, call: call, index: i}); err != nil {
			if call == nil {
				return p.refused(topic, msgs[i:], len(msgs), err)
			}
			call.done(i, err)
		}
	}
	if call == nil {
		return nil
	}
	return p.await(topic, msgs, call)
}

// refused says which messages a buffering Publish did not take over.
func (p *Publisher) refused(topic string, rest []*message.Message, total int, err error) error {
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
	for {
		if p.closed {
			p.mu.Unlock()
			return fmt.Errorf("batching: publisher %w", events.ErrClosed)
		}
		if p.held < p.cfg.MaxBuffered {
			break
		}
		changed := p.changed
		p.mu.Unlock()
		if p.cfg.Full == ErrorWhenFull {
			return fmt.Errorf("%w: %d messages are held", ErrBufferFull, p.cfg.MaxBuffered)
		}
		ctx := it.msg.Context()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("batching: waiting for room: %w", context.Cause(ctx))
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	p.held++
	p.bytes += len(it.msg.Payload)
	q := p.queues[key]
	if q == nil {
		q = &queue{p: p, key: key}
		p.queues[key] = q
	}
	q.add(it)
	return nil
}

// key asks the strategy, whose panic is the message's error.
func (p *Publisher) key(topic string, msg *message.Message) (key queueKey, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("batching: Config.Strategy: %w", &events.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	return queueKey{topic, p.cfg.Strategy(topic, msg)}, nil
}

// await waits for the results of one Wait-mode call.
func (p *Publisher) await(topic string, msgs []*message.Message, c *call) error {
	for i := range msgs {
		ctx := msgs[i].Context()
		select {
		case <-c.finished:
		case <-ctx.Done():
			p.withdraw(c, context.Cause(ctx))
		}
	}
	failed := &events.PublishError{Topic: topic, Total: len(msgs)}
	for i, err := range c.results() {
		if err != nil {
			failed.Failed = append(failed.Failed, events.FailedMessage{Topic: topic, Message: msgs[i], Err: err})
		}
	}
	if len(failed.Failed) == 0 {
		return nil
	}
	return failed
}

// withdraw takes those messages of a call out of their queues that are not
// part of a batch yet, and stops waiting for the others.
func (p *Publisher) withdraw(c *call, cause error) {
	p.mu.Lock()
	for _, q := range p.queues {
		q.withdraw(c, cause)
	}
	p.mu.Unlock()
	c.abandon(fmt.Errorf("batching: under way, may be published all the same: %w", cause))
}

// release makes room: n messages are done with. The caller holds the lock.
func (p *Publisher) release(n, bytes int) {
	p.held -= n
	p.bytes -= bytes
	close(p.changed)
	p.changed = make(chan struct{})
}

// errPanicked marks a batch during which the publisher beneath panicked.
var errPanicked = errors.New("batching: the publisher beneath panicked")
