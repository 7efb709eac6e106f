package transport

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/logistically/events"
)

// DeadLetterTopic names the topic that holds the dead letters of a topic:
// "{user-events}:dead-letters" for "user-events". The braces are a Redis Cluster
// hash tag: topic and dead letters share a slot, so that a message can move from
// one to the other in one atomic step. A topic with a hash tag of its own keeps it.
func DeadLetterTopic(topic string) string {
	return HashTag(topic) + ":dead-letters"
}

// HashTag returns topic in a form that other names may be derived from by
// appending to it, such that Redis Cluster keeps them all in topic's slot. It
// cannot do that for a topic that [CheckTopic] refuses.
func HashTag(topic string) string {
	if hasHashTag(topic) {
		return topic
	}
	return "{" + topic + "}"
}

// hasHashTag goes by Redis Cluster's rule: what is hashed is what stands between
// the first { and the first } after it, or the whole key if that is nothing.
func hasHashTag(topic string) bool {
	_, after, ok := strings.Cut(topic, "{")
	return ok && strings.Index(after, "}") > 0
}

// CheckTopic returns an *events.ConfigError that names the topic and what to do
// if it is no name for a topic: if it is empty, or such that the names which
// [HashTag] derives from it would be in another slot of a Redis Cluster. Every
// transport that stores messages refuses such topics, so that a service that runs
// on one runs on another.
func CheckTopic(topic string) error {
	switch {
	case topic == "":
		return &events.ConfigError{Field: "topic", Value: topic, Problem: "is empty", Remedy: `name the topic, such as "user-events"`}
	case strings.Contains(topic, "}") && !hasHashTag(topic):
		return &events.ConfigError{Field: "topic", Value: topic, Problem: "has a } that closes no hash tag", Remedy: `leave out braces, or write a hash tag as "{user}-events"`}
	}
	return nil
}

// CheckTopics returns an *events.ConfigError if topics are not what a
// [Source.Receiver] may be opened on: if they are none, one of them is refused by
// [CheckTopic], or two of them are the same or differ in nothing but the
// braces of their hash tag, such as "u" and "{u}", whose derived names are equal.
func CheckTopics(topics ...string) error {
	if len(topics) == 0 {
		return &events.ConfigError{Field: "topics", Value: topics, Problem: "are none", Remedy: `name at least one topic, such as "user-events"`}
	}
	seen := make(map[string]bool, len(topics))
	for _, topic := range topics {
		if err := CheckTopic(topic); err != nil {
			return err
		}
		if seen[HashTag(topic)] {
			return &events.ConfigError{Field: "topics", Value: topics, Problem: `name a topic twice, or once with and once without the braces of a hash tag, such as "u" and "{u}"`, Remedy: "name each topic once"}
		}
		seen[HashTag(topic)] = true
	}
	return nil
}

// DeriveTopic calls a function of a configuration that names one topic by another,
// such as that for dead letters, and makes sure of what it is given: a panic is an
// error that wraps an *events.PanicError, and the name must pass [CheckTopic] and
// be another one than topic.
func DeriveTopic(name func(topic string) string, topic string) (derived string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("name a topic for %q: %w", topic, &events.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	derived = name(topic)
	err = CheckTopic(derived)
	if err == nil && derived == topic { // A dead letter would come back as an event, for ever.
		err = &events.ConfigError{Field: "topic", Value: derived, Problem: "is the one that it is derived from", Remedy: "name another one, such as transport.DeadLetterTopic does"}
	}
	if err != nil {
		return "", fmt.Errorf("name a topic for %q: %w", topic, err)
	}
	return derived, nil
}
