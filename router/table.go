package router

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"github.com/logistically/events/transport"
)

// Priorities of a [Route], as events.MetadataPriority carries them.
const (
	PriorityLow    = "low"
	PriorityNormal = "normal"
	PriorityHigh   = "high"
)

// TableConfig configures [NewTable].
type TableConfig struct {
	// Default names the transport of events that no route matches; they keep
	// their topic. Required.
	Default string
	// Transports are the publishers by the names that routes call them.
	Transports map[string]message.Publisher
	// Routes are tried in order; the first one that matches counts.
	Routes []Route
}

// Route says where events of some types go.
type Route struct {
	// Pattern selects event types, as in [Registrar]: "user.created", "user.*"
	// for one more segment, "user.**" for one or more. Required.
	Pattern string
	// Transport names one of TableConfig.Transports. Required.
	Transport string
	// Prefix is put before the topic that the caller publishes to.
	Prefix string
	// Topic, if not empty, takes the place of the caller's topic. A route has
	// Prefix or Topic or neither, not both.
	Topic string
	// Priority is written into the event's metadata: PriorityLow,
	// PriorityNormal or PriorityHigh. Empty leaves what the event has.
	Priority string
	// Partitions, if not zero, spreads the topic over as many topics, as
	// transport.PartitionTopics names them; at most 1 048 576. All messages of a
	// key go to the same one, so that they keep their order there.
	Partitions int
	// PartitionBy returns a message's key, such as that of LaneConfig.OrderBy.
	// Messages whose key is "" have no order and are spread by their ids. If it
	// panics the message is not published. Required with Partitions, and nil without.
	PartitionBy func(msg *message.Message) string
}

// Table is a message.Publisher that sends each message where its event type
// says: to which transport, topic and with which priority. A message without
// an event type is routed by the topic it is published to. It is safe for
// concurrent use.
type Table struct {
	fallback    message.Publisher
	defaultName string
	routes      []route
	closed      atomic.Bool
}

var _ message.Publisher = (*Table)(nil)

type route struct {
	Route
	pattern   pattern
	publisher message.Publisher
}

// NewTable returns a Table. It is a *events.ConfigError if the default or a
// route names no transport of the table, a publisher is nil, a pattern or a
// priority is not valid, or a route can never match because an earlier one
// covers its pattern.
func NewTable(cfg TableConfig) (*Table, error) {
	for name, pub := range cfg.Transports {
		if nilcheck.IsNil(pub) {
			return nil, configError(fmt.Sprintf("TableConfig.Transports[%q]", name), pub, "is nil", "set it to a message.Publisher")
		}
	}
	if cfg.Transports[cfg.Default] == nil {
		return nil, configError("TableConfig.Default", cfg.Default, "names no transport", "set it to a key of Transports")
	}
	t := &Table{fallback: cfg.Transports[cfg.Default], defaultName: cfg.Default}
	for i, r := range cfg.Routes {
		field := fmt.Sprintf("TableConfig.Routes[%d].", i)
		p, err := parsePattern(field+"Pattern", r.Pattern)
		if err != nil {
			return nil, err
		}
		for j, earlier := range t.routes {
			if earlier.pattern.covers(p) {
				return nil, configError(field+"Pattern", r.Pattern, fmt.Sprintf("can never match: Routes[%d], %q, comes first and covers it", j, earlier.Pattern), "put the more specific pattern first, or remove it")
			}
		}
		if cfg.Transports[r.Transport] == nil {
			return nil, configError(field+"Transport", r.Transport, "names no transport", "set it to a key of Transports")
		}
		if r.Prefix != "" && r.Topic != "" {
			return nil, configError(field+"Topic", r.Topic, "is set beside Prefix", "set one of the two")
		}
		if !slices.Contains([]string{"", PriorityLow, PriorityNormal, PriorityHigh}, r.Priority) {
			return nil, configError(field+"Priority", r.Priority, "is no priority", `use "low", "normal", "high", or leave it empty`)
		}
		switch {
		case r.Partitions < 0 || r.Partitions > maxPartitions:
			return nil, configError(field+"Partitions", r.Partitions, "is negative or over 1048576", "set it to a number of topics, or to 0 for no partitions")
		case (r.PartitionBy == nil) != (r.Partitions == 0):
			return nil, configError(field+"PartitionBy", nil, "is nil though Partitions is set, or is set without it", "set both, or neither")
		}
		t.routes = append(t.routes, route{r, p, cfg.Transports[r.Transport]})
	}
	return t, nil
}

// Publish implements message.Publisher. Messages that go to the same topic of
// the same transport go out in one call, in their order; the calls are made one
// after the other, and a failed one does not keep the others back. Its error,
// if any, is one *events.PublishError over all of them, which lists the
// messages as the caller passed them. The messages themselves are not changed.
func (t *Table) Publish(topic string, messages ...*message.Message) error {
	if t.closed.Load() {
		return fmt.Errorf("router: publish %d messages to %q by the routing table: %w", len(messages), topic, events.ErrClosed)
	}
	if i := slices.Index(messages, nil); i >= 0 {
		return fmt.Errorf("router: publish %d messages to %q by the routing table: message %d is nil, nothing is published", len(messages), topic, i+1)
	}
	bulks, refused := t.split(topic, messages)
	failed := events.PublishError{Topic: topic, Total: len(messages), Failed: refused}
	for _, b := range bulks {
		if err := protect(func() error { return b.publisher.Publish(b.topic, b.out...) }); err != nil {
			failed.Failed = append(failed.Failed, b.failures(err)...)
		}
	}
	if len(failed.Failed) > 0 {
		return &failed
	}
	return nil
}

// Close ends the table; Publish then returns events.ErrClosed. The transports
// stay open: whoever opened them closes them. It may be called again.
func (t *Table) Close() error {
	t.closed.Store(true)
	return nil
}

// bulk is what one call of one transport publishes.
type bulk struct {
	publisher message.Publisher
	topic     string
	given     []*message.Message // as the caller passed them
	out       []*message.Message // the same, or copies with a priority
}

// split groups messages by transport and topic, in order of first appearance, and
// returns those that have no topic because of their PartitionBy.
func (t *Table) split(topic string, messages []*message.Message) (bulks []*bulk, refused []events.FailedMessage) {
	byTarget := make(map[target]*bulk, 1)
	for _, msg := range messages {
		to, pub, out, err := t.route(topic, msg)
		if err != nil {
			refused = append(refused, events.FailedMessage{Topic: to.topic, Message: msg, Err: err})
			continue
		}
		b := byTarget[to]
		if b == nil {
			b = &bulk{publisher: pub, topic: to.topic}
			byTarget[to] = b
			bulks = append(bulks, b)
		}
		b.given = append(b.given, msg)
		b.out = append(b.out, out)
	}
	return bulks, refused
}

// target is a topic of a transport, the transport by its name: publishers need
// not be comparable.
type target struct{ transport, topic string }

// route returns where a message goes, and the message as it goes there.
func (t *Table) route(topic string, msg *message.Message) (target, message.Publisher, *message.Message, error) {
	eventType := typeOf(msg, topic)
	for i := range t.routes {
		r := &t.routes[i]
		if !r.pattern.match(eventType) {
			continue
		}
		to := r.Topic
		if to == "" {
			to = r.Prefix + topic
		}
		if r.Partitions > 0 {
			var err error
			if to, err = r.partition(to, msg); err != nil {
				return target{r.Transport, to}, nil, nil, err
			}
		}
		if r.Priority != "" && msg.Metadata[events.MetadataPriority] != r.Priority {
			// The caller may be reading its message, or publish it elsewhere.
			msg = msg.CopyWithContext()
			msg.Metadata[events.MetadataPriority] = r.Priority
		}
		return target{r.Transport, to}, r.publisher, msg, nil
	}
	return target{t.defaultName, topic}, t.fallback, msg, nil
}

// maxPartitions is the most that [Route.Partitions] may be.
const maxPartitions = 1 << 20

// partition returns the topic for a message among those of a topic.
func (r *route) partition(topic string, msg *message.Message) (string, error) {
	var key string
	if err := protect(func() error { key = r.PartitionBy(msg); return nil }); err != nil {
		return topic, fmt.Errorf("router: PartitionBy of route %q: %w", r.Pattern, err)
	}
	if key == "" {
		key = msg.UUID
	}
	return transport.PartitionTopic(topic, transport.PartitionOf(key, r.Partitions)), nil
}

// failures lists the caller's messages that err says have failed: those that it
// lists for sure, or else all.
func (b *bulk) failures(err error) (failed []events.FailedMessage) {
	errs, _ := events.FailedOf(err, b.out)
	for i, err := range errs {
		if err != nil {
			failed = append(failed, events.FailedMessage{Topic: b.topic, Message: b.given[i], Err: err})
		}
	}
	return failed
}
