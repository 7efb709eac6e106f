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
// changed after Publish has been called with them: what goes on is no deep copy. A
// publisher beneath that changes messages needs them for itself.
type Publisher struct {
	next  message.Publisher
	cfg   Config
	slots chan struct{} // one token for each batch under way

	mu          sync.Mutex
	closed      bool
	last        uint64              // number of the message that was added last
	queues      map[queueKey]*queue // those with messages
	gathering   *list.List          // of queues: see gather.go
	timer       *time.Timer
	timerSet    bool
	spare       []*queue // without messages, to be used again
	held        int      // messages that wait or are under way
	bytes       int      // of their payloads
	active      int      // batches under way
	failed      []*failure
	failedBytes int           // of their payloads
	retry       *retry        // that runs
	changed     chan struct{} // closed by notify; nil if nobody waits
	room        chan struct{} // closed by offerRoom; nil if nobody waits

	calls sync.Pool // of *call. Not a global one: in a synctest bubble they must not come from another.
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
	Queues        int `json:"queueCount"`         // batch names with messages, and large calls beside them
	Messages      int `json:"totalMessages"`      // waiting or under way
	Bytes         int `json:"totalBytes"`         // of their payloads
	Failed        int `json:"failedMessageCount"` // kept for RetryFailed
	FailedBytes   int `json:"failedBytes"`        // of their payloads
	ActiveBatches int `json:"activeBatches"`      // under way
}

// MemoryStats returns what is held at this moment.
func (p *Publisher) MemoryStats() MemoryStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return MemoryStats{len(p.queues), p.held, p.bytes, len(p.failed), p.failedBytes, p.active}
}

// Publish implements message.Publisher; Config.Mode says what its error means.
// An *events.PublishError lists the messages that were not published, or, in
// Buffered mode, not taken over; all others were.
//
// In Wait mode, messages whose context ends before they are part of a batch are
// not published. Publish does not wait for a batch longer than their context
// lasts, unless they are all of it: then the publisher beneath is called with them
// as they are, and Publish returns when it does. After Close Publish returns
// events.ErrClosed.
func (p *Publisher) Publish(topic string, msgs ...*message.Message) error {
	if len(msgs) == 0 {
		return nil
	}
	var room [1]queueKey
	keys, errs := room[:], []error(nil)
	if len(msgs) > 1 {
		keys = make([]queueKey, len(msgs))
	}
	for i, msg := range msgs {
		if msg == nil {
			return fmt.Errorf("batching: publish to %q: a message is nil", topic)
		}
		var err error
		if keys[i], err = p.place(topic, msg); err != nil {
			if errs == nil {
				errs = make([]error, len(msgs))
			}
			errs[i] = err
		}
	}
	if p.cfg.Mode == Wait {
		return p.publishAndWait(topic, msgs, keys, errs)
	}
	return p.buffer(topic, msgs, keys, errs)
}

// place says in which queue a message belongs, or why in none.
func (p *Publisher) place(topic string, msg *message.Message) (queueKey, error) {
	if len(msg.Payload) > p.cfg.MaxBytes {
		return queueKey{}, fmt.Errorf("batching: message %s: %w: %d bytes, at most %d: publish a reference to the data, or raise Config.MaxBytes",
			msg.UUID, events.ErrTooLarge, len(msg.Payload), p.cfg.MaxBytes)
	}
	return p.key(topic, msg)
}

// buffer is Publish in Buffered mode. The errors that errs has, if any, are those
// of messages that cannot be published. When one finds no room, those after it are
// not taken either: they would overtake it.
func (p *Publisher) buffer(topic string, msgs []*message.Message, keys []queueKey, errs []error) error {
	var failed []events.FailedMessage
	p.mu.Lock()
	defer p.mu.Unlock()
	var over error
	for i, msg := range msgs {
		err := over
		if errs != nil && errs[i] != nil {
			err = errs[i]
		}
		if err == nil {
			over = p.add(keys[i], item{msg: msg})
			err = over
		}
		if err != nil {
			failed = append(failed, events.FailedMessage{Topic: topic, Message: msg, Err: err})
		}
	}
	if failed == nil {
		return nil
	}
	return &events.PublishError{Topic: topic, Total: len(msgs), Failed: failed}
}

// add queues one message, when there is room for it. The caller holds the lock,
// which is given up while there is none.
func (p *Publisher) add(key queueKey, it item) error {
	if err := p.makeRoom(it.msg.Context(), len(it.msg.Payload)); err != nil {
		return err
	}
	p.held++
	p.bytes += len(it.msg.Payload)
	p.last++
	it.number = p.last
	p.queueOf(key).add(it)
	if !p.hasRoom(1, 1) {
		p.ripenAll()
	}
	return nil
}

// key asks the strategy, whose panic is the message's error.
func (p *Publisher) key(topic string, msg *message.Message) (key queueKey, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("batching: Config.Strategy: %w", &events.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	return queueKey{topic: topic, batch: p.cfg.Strategy(topic, msg)}, nil
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
