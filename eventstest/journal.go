package eventstest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// journal is what has happened to each event, in order.
type journal struct {
	mu        sync.Mutex
	begun     time.Time
	traces    []*trace
	byID      map[string]*trace
	published []publication
}

func newJournal() *journal { return &journal{begun: time.Now(), byID: map[string]*trace{}} }

// publication is an event as it was published.
type publication struct {
	*trace
	msg *message.Message
}

// trace is what has happened to one event.
type trace struct {
	id, eventType string
	topics        []string // that it was published to
	steps         []step
	handled       int      // how often a group has acked it
	dead          []string // why groups have given it up
	settled       map[route]bool
}

type step struct {
	at   time.Duration
	text string
}

// of returns the trace of a message. The caller holds the lock.
func (j *journal) of(msg *message.Message, topic string) *trace {
	t := j.byID[msg.UUID]
	if t == nil {
		t = &trace{id: msg.UUID, eventType: typeOf(msg, topic), settled: map[route]bool{}}
		j.byID[msg.UUID] = t
		j.traces = append(j.traces, t)
	}
	return t
}

func (j *journal) add(t *trace, format string, args ...any) {
	t.steps = append(t.steps, step{time.Since(j.begun), cut(fmt.Sprintf(format, args...))})
}

// publish records a call of Publish. The caller holds the lock.
func (j *journal) publish(topic string, msg *message.Message, err error) {
	t := j.of(msg, topic)
	if err != nil {
		j.add(t, "publishing to %q failed: %v", topic, err)
		return
	}
	t.topics = append(t.topics, topic)
	if reason := msg.Metadata[transport.MetadataFailureReason]; reason != "" && msg.Metadata[transport.MetadataFailureTopic] != topic {
		// By a poison queue middleware. One that goes back where it came from is
		// published again.
		t.dead = append(t.dead, reason)
		j.add(t, "dead-lettered to %q: %s", topic, reason)
		return
	}
	c := msg.Copy()
	c.Payload = append(message.Payload(nil), msg.Payload...)
	j.published = append(j.published, publication{t, c})
	j.add(t, "published to %q: %s", topic, msg.Payload)
}

// deliver records a delivery. The caller holds the lock.
func (j *journal) deliver(group string, d *transport.Delivery) {
	j.add(j.of(d.Message, d.Topic), "delivered to group %q, attempt %d", group, d.Attempt)
}

// settle records an outcome. The caller holds the lock.
func (j *journal) settle(group string, o transport.Outcome, err error) {
	d := o.Delivery
	t := j.of(d.Message, d.Topic)
	final := route{d.Topic, group}
	switch {
	case err != nil:
		j.add(t, "settling by %v failed: %v", o.Settlement, err)
	case o.Settlement == transport.Ack:
		t.handled++
		t.settled[final] = true
		j.add(t, "acked by group %q", group)
	case o.Settlement == transport.DeadLetter:
		reason := o.Metadata[transport.MetadataFailureReason]
		t.dead = append(t.dead, reason)
		t.settled[final] = true
		j.add(t, "dead-lettered by group %q: %s", group, reason)
	case o.Settlement == transport.Retry:
		j.add(t, "to be retried after %v: %v", o.After, o.Cause)
	case o.Settlement == transport.Release:
		j.add(t, "released by group %q", group)
	}
}

// note records what a handler has done.
func (j *journal) note(msg *message.Message, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.add(j.of(msg, topicOf(msg)), format, args...)
}

// unsettled returns why an outcome could not be applied, if it could not.
func unsettled(err error, o transport.Outcome) error {
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok {
		return err
	}
	for _, u := range failed.Unsettled {
		if u.Outcome.Delivery == o.Delivery {
			return u.Err
		}
	}
	return nil
}

// typeOf returns what an event is called: its type, or the topic of a message
// of a plain Watermill publisher.
func typeOf(msg *message.Message, topic string) string {
	if t := msg.Metadata[events.MetadataType]; t != "" {
		return t
	}
	return topic
}

// topicOf returns where a message that is being handled came from.
func topicOf(msg *message.Message) string {
	if d, _ := transport.DeliveryFromContext(msg.Context()); d != nil {
		return d.Topic
	}
	return message.SubscribeTopicFromCtx(msg.Context())
}

// maxText keeps one large body from hiding the rest of a timeline.
const maxText = 512

// cut keeps a step on one line of bearable length.
func cut(text string) string {
	text = strings.ReplaceAll(text, "\n", " ")
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + " ..."
}
