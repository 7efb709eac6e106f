package batching

import (
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// ExactType puts messages of one event type into one batch.
func ExactType(topic string, msg *message.Message) string {
	if t := msg.Metadata[events.MetadataType]; t != "" {
		return t
	}
	return topic
}

// FirstSegments puts messages into one batch whose event types agree in their
// first n segments. If n is zero or less, all messages of a topic do.
func FirstSegments(n int) func(topic string, msg *message.Message) string {
	return func(topic string, msg *message.Message) string {
		eventType, end := ExactType(topic, msg), 0
		for i := range n {
			if i > 0 {
				end++ // the dot
			}
			next := strings.IndexByte(eventType[end:], '.')
			if next < 0 {
				return eventType
			}
			end += next
		}
		return eventType[:end]
	}
}

// ByTopic puts all messages of a topic into one batch.
func ByTopic(string, *message.Message) string { return "" }
