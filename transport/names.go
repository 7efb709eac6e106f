package transport

import "strings"

// DeadLetterTopic names the topic that holds the dead letters of a topic:
// "{user-events}:dead-letters" for "user-events". The braces are a Redis Cluster
// hash tag: topic and dead letters share a slot, so that a message can move from
// one to the other in one atomic step. A topic with a hash tag of its own keeps it.
func DeadLetterTopic(topic string) string {
	return HashTag(topic) + ":dead-letters"
}

// HashTag returns topic in a form that other names may be derived from by
// appending to it, such that Redis Cluster keeps them all in topic's slot.
func HashTag(topic string) string {
	if _, after, ok := strings.Cut(topic, "{"); ok && strings.Index(after, "}") > 0 {
		return topic
	}
	return "{" + topic + "}"
}
