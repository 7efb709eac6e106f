package spool

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// Publisher publishes to the publisher beneath, and spools what that does not
// take. It is safe for concurrent use.
//
// As long as something is spooled, all that is published goes behind it, so that
// nothing overtakes: what one call published before another one began is sent
// before it, also across a restart. Only messages of one call part ways when the
// transport takes some and refuses others. A message whose sending was cut short
// may be sent twice.
type Publisher struct {
	next message.Publisher
	cfg  Config

	mu      sync.Mutex
	store   *store
	closed  bool
	direct  int           // calls of Publish that the publisher beneath has
	lastErr error         // why what is spooled could not be sent
	changed chan struct{} // closed when any of this changes
	added   chan struct{} // has a token when the sender may have something to do

	// What the sender has read and not sent yet, of so many, and where they end.
	window []record
	size   int
	end    position
	pause  time.Duration // before it tries again
	hurry  bool          // It is to try at once.

	ctx     context.Context // of what is sent from the spool
	cancel  context.CancelFunc
	stopped chan struct{} // closed when the sender has ended
	closing error         // of the files, after that
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher opens the directory of a spool and begins to send what it holds to
// next, which it never closes. Its error is a *events.ConfigError, ErrInUse, or one
// of the file system.
func NewPublisher(next message.Publisher, cfg Config) (*Publisher, error) {
	if nilcheck.IsNil(next) {
		return nil, &events.ConfigError{Field: "spool.NewPublisher next", Value: next, Problem: "is nil", Remedy: "pass the publisher that messages go to"}
	}
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	store, err := openStore(cfg)
	if err != nil {
		return nil, err
	}
	p := &Publisher{
		next: next, cfg: cfg, store: store,
		changed: make(chan struct{}), added: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	go p.send()
	return p, nil
}

// Publish implements message.Publisher. A nil error means that each message has
// been published or is durable in the spool. An *events.PublishError lists those
// that are neither: because they were rejected, or their context had ended, or the
// spool could not take them. After Close it returns events.ErrClosed.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	errs := make([]error, len(msgs))
	live := make([]int, 0, len(msgs)) // places of those that are not refused
	for i, msg := range msgs {
		if msg == nil {
			return fmt.Errorf("spool: publish to %q: a message is nil", topic)
		}
		if ctx := msg.Context(); ctx.Err() != nil {
			errs[i] = fmt.Errorf("spool: not published: %w", context.Cause(ctx))
		} else {
			live = append(live, i)
		}
	}
	if len(live) > 0 {
		p.publish(topic, msgs, live, errs)
	}
	failed := &events.PublishError{Topic: topic, Total: len(msgs)}
	for i, err := range errs {
		if err != nil {
			failed.Failed = append(failed.Failed, events.FailedMessage{Topic: topic, Message: msgs[i], Err: err})
		}
	}
	if len(failed.Failed) == 0 {
		return nil
	}
	return failed
}

// publish sets the errors of those messages, of the ones at live, that are neither
// published nor spooled.
func (p *Publisher) publish(topic string, msgs []*message.Message, live []int, errs []error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		for _, i := range live {
			errs[i] = fmt.Errorf("spool: publisher %w", events.ErrClosed)
		}
		return
	}
	if p.store.messages == 0 {
		live = p.publishDirectly(topic, msgs, live, errs)
	}
	if len(live) == 0 {
		return
	}
	records := make([]record, len(live))
	for n, i := range live {
		records[n] = record{topic: topic, msg: msgs[i]}
	}
	err := p.store.append(records)
	for _, i := range live {
		if err != nil {
			errs[i] = errors.Join(errs[i], err)
		} else {
			errs[i] = nil
		}
	}
	p.wake()
}

// publishDirectly calls the publisher beneath, without the lock, and returns the
// places of those messages that are to be spooled.
func (p *Publisher) publishDirectly(topic string, msgs []*message.Message, live []int, errs []error) (rest []int) {
	sending := msgs
	if len(live) < len(msgs) {
		sending = make([]*message.Message, len(live))
		for n, i := range live {
			sending[n] = msgs[i]
		}
	}
	p.direct++
	p.mu.Unlock()
	defer func() { // also when the publisher beneath ends this goroutine
		p.mu.Lock()
		p.direct--
		p.notify()
	}()
	said, _ := events.FailedOf(call(p.next, topic, sending), sending)
	for n, i := range live {
		if errs[i] = said[n]; errs[i] != nil && !p.cfg.Rejects(errs[i]) {
			rest = append(rest, i)
		}
	}
	return rest
}

// call is next.Publish, whose panic is an error.
func call(next message.Publisher, topic string, msgs []*message.Message) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("spool: the publisher beneath panicked: %w", &events.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	return next.Publish(topic, msgs...)
}

// Stats is what a Publisher holds on disk.
type Stats struct {
	Messages int   // to be sent
	Bytes    int64 // of the files they are in
	Rejected int   // set aside: see TakeRejected
	Err      error // why what is spooled could not be sent, the last time; nil if it could
}

// Stats returns what is held at this moment.
func (p *Publisher) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{p.store.messages, p.store.bytes(), p.store.rejected, p.lastErr}
}

// TakeRejected returns the spooled messages that were rejected, oldest first, and
// forgets them: they are the caller's now. Their errors have the text only of the
// ones that Config.Rejects was given.
func (p *Publisher) TakeRejected() ([]events.FailedMessage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.store.takeRejected()
}

// Flush has what is spooled sent without waiting for the next attempt, and returns when all that is spooled has been sent or rejected, or ctx ends, or
// the Publisher is closed.
func (p *Publisher) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hurry = true
	p.wake()
	err := p.wait(ctx, func() bool { return p.store.messages == 0 || p.closed })
	if err == nil && p.store.messages > 0 {
		err = events.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("spool: flush: %d messages are not sent: %w", p.store.messages, errors.Join(err, p.lastErr))
	}
	return nil
}

// Close waits for calls that are under way, and leaves what is spooled on disk, to
// be sent by the next Publisher with the directory. From then on Publish returns
// events.ErrClosed. It may be called twice. It does not close the publisher beneath.
func (p *Publisher) Close() error { return p.Shutdown(context.Background()) }

// Shutdown is Close with a limit. When ctx ends, it ends the contexts of what is
// sent from the spool, and returns without waiting longer; the directory stays in use
// until the publisher beneath returns.
func (p *Publisher) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.notify()
	p.wake()
	p.mu.Unlock()
	select {
	case <-p.stopped:
		return p.closing
	case <-ctx.Done():
		p.cancel()
		return fmt.Errorf("spool: shutdown: %w", context.Cause(ctx))
	}
}

// wait returns nil as soon as done reports true, or why ctx has ended. The
// caller holds the lock, which is given up meanwhile.
func (p *Publisher) wait(ctx context.Context, done func() bool) error {
	for !done() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
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
	close(p.changed)
	p.changed = make(chan struct{})
}

// wake has the sender look for something to do.
func (p *Publisher) wake() {
	select {
	case p.added <- struct{}{}:
	default:
	}
}
