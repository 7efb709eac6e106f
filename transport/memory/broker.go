// Package memory is a transport within one process: for tests, examples and
// programs that need no other. It behaves as the Redis transport does: consumer
// groups, pending deliveries, attempts, delayed retries, dead letters, and
// reclaim of what a crashed consumer held. It takes time from package time only
// and keeps no goroutine waiting outside of channels, so that testing/synctest
// drives it.
package memory

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// BrokerConfig configures [NewBroker].
type BrokerConfig struct {
	// MaxLen is how many messages a topic keeps; older ones are dropped, read or
	// not. Zero means all, so that memory grows with what is published.
	MaxLen int
}

// Broker holds topics and groups: what a server is to other transports. It has
// no goroutines and needs no closing. It is safe for concurrent use.
type Broker struct {
	cfg BrokerConfig

	mu      sync.Mutex
	topics  map[string]*topic
	changed chan struct{} // closed, and replaced, when there is something to receive
	lapsing bool          // leases may run out: a receiver has crashed, or not settled something
}

// NewBroker returns an empty broker.
func NewBroker(cfg BrokerConfig) *Broker {
	return &Broker{cfg: cfg, topics: map[string]*topic{}, changed: make(chan struct{})}
}

type topic struct {
	name    string
	entries []*entry
	next    int // the number of the next entry
	groups  map[string]*group
}

// entry is one stored message. It never changes.
type entry struct {
	number int
	msg    *message.Message
	stored time.Time
}

// group is what one consumer group has of a topic.
type group struct {
	next    int        // the number of the next entry to deliver
	queue   []*waiting // released, or retried and due: delivered before new entries
	delayed []*waiting // retried and not due yet
	pending map[*transport.Delivery]*pending
	ownership
}

// waiting is an entry that is to be delivered again.
type waiting struct {
	entry   *entry
	attempt int
	due     time.Time
	trace   string // transport.MetadataFailureTrace, if there is one
}

// pending is a delivery that is not settled.
type pending struct {
	entry   *entry
	owner   *receiver
	expires time.Time // when its lease runs out; if zero, when its owner says
	cancel  context.CancelCauseFunc
}

// Messages returns copies of the messages that a topic holds, oldest first.
// Dead letters are in the topic that transport.DeadLetterTopic names.
func (b *Broker) Messages(topicName string) []*message.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[topicName]
	if t == nil {
		return nil
	}
	msgs := make([]*message.Message, len(t.entries))
	for i, e := range t.entries {
		msgs[i] = e.msg.Copy()
	}
	return msgs
}

// Unsettled returns how many messages of a topic a group has not settled yet:
// not delivered, pending, or waiting for a retry.
func (b *Broker) Unsettled(topicName, groupName string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.topics[topicName]
	if t == nil {
		return 0
	}
	g := t.groups[groupName]
	if g == nil {
		return len(t.entries)
	}
	undelivered := 0
	for _, e := range t.entries {
		if e.number >= g.next {
			undelivered++
		}
	}
	return undelivered + len(g.queue) + len(g.delayed) + len(g.pending)
}

// topic returns the topic of a name, new or not. The caller holds the lock.
func (b *Broker) topic(name string) *topic {
	t := b.topics[name]
	if t == nil {
		t = &topic{name: name, groups: map[string]*group{}}
		b.topics[name] = t
	}
	return t
}

// append stores a message. The caller holds the lock, and wakes the receivers.
func (b *Broker) append(topicName string, msg *message.Message) {
	t := b.topic(topicName)
	t.entries = append(t.entries, &entry{t.next, msg, time.Now()})
	t.next++
	if over := len(t.entries) - b.cfg.MaxLen; b.cfg.MaxLen > 0 && over > 0 {
		t.entries = append([]*entry(nil), t.entries[over:]...)
	}
}

// wake makes all waiting receivers look again. The caller holds the lock.
func (b *Broker) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// group returns a group of a topic, made to begin at start if it is new.
func (t *topic) group(name string, fromNow bool) *group {
	g := t.groups[name]
	if g == nil {
		g = &group{pending: map[*transport.Delivery]*pending{}}
		if fromNow {
			g.next = t.next
		}
		t.groups[name] = g
	}
	return g
}

// undelivered returns the next entry that the group has not seen, or nil.
func (t *topic) undelivered(g *group) *entry {
	if len(t.entries) == 0 {
		return nil
	}
	i := max(g.next-t.entries[0].number, 0)
	if i >= len(t.entries) {
		return nil
	}
	return t.entries[i]
}

func (e *entry) id() string { return strconv.Itoa(e.number) }
