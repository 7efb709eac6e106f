package transport_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// hashed is what Redis Cluster hashes of a key (the specification's HASH_SLOT).
func hashed(key string) string {
	s := strings.IndexByte(key, '{')
	if s < 0 {
		return key
	}
	e := strings.IndexByte(key[s+1:], '}')
	if e <= 0 {
		return key
	}
	return key[s+1 : s+1+e]
}

func TestNamesDerivedFromATopicShareItsSlot(t *testing.T) {
	for topic, accepted := range map[string]bool{
		"user-events":                true,
		"{user}-events":              true,
		"{user-events}:dead-letters": true,
		"a{b":                        true,
		"{":                          true,
		"a{b}c}d":                    true,
		"{a{b}":                      true,
		"":                           false,
		"a}b":                        false,
		"}":                          false,
		"{}x":                        false,
		"{}{a}x":                     false,
		"a}b{c":                      false,
	} {
		err := transport.CheckTopic(topic)
		if accepted != (err == nil) {
			t.Errorf("CheckTopic(%q): %v", topic, err)
		}
		if derived := transport.DeadLetterTopic(topic); topic != "" && (hashed(derived) == hashed(topic)) != accepted {
			t.Errorf("%q is hashed as %q, %q as %q", topic, hashed(topic), derived, hashed(derived))
		}
		if err == nil {
			continue
		}
		if refused, ok := errors.AsType[*events.ConfigError](err); !ok || refused.Value != topic || refused.Remedy == "" {
			t.Errorf("CheckTopic(%q): %#v", topic, err)
		}
	}
}

func FuzzNamesDerivedFromATopicShareItsSlot(f *testing.F) {
	f.Add("a}b{c}")
	f.Fuzz(func(t *testing.T, topic string) {
		derived := transport.HashTag(topic) + ":delay:g}{"
		if accepted := transport.CheckTopic(topic) == nil; topic != "" && accepted != (hashed(derived) == hashed(topic)) {
			t.Errorf("%q: accepted is %v; hashed as %q, derived as %q", topic, accepted, hashed(topic), hashed(derived))
		}
	})
}

func TestCheckTopicsRefusesWhatNamesATopicTwice(t *testing.T) {
	for _, good := range [][]string{{"a"}, {"a", "b"}, {"{a}", "b"}, {"a", "{a}:dead-letters"}, {"a{b", "a"}} {
		if err := transport.CheckTopics(good...); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range [][]string{nil, {""}, {"a", ""}, {"a", "b}"}, {"a", "b", "a"}, {"a", "{a}"}, {"{a}", "a"}} {
		if !isConfigError(transport.CheckTopics(bad...)) {
			t.Errorf("%q: not refused", bad)
		}
	}
}

func TestDeriveTopicMakesSureOfWhatItIsGiven(t *testing.T) {
	got, err := transport.DeriveTopic(transport.DeadLetterTopic, "t")
	if got != "{t}:dead-letters" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := transport.DeriveTopic(func(string) string { return "" }, "t"); !isConfigError(err) {
		t.Errorf("an empty name: %v", err)
	}
	if _, err := transport.DeriveTopic(func(topic string) string { return topic }, "t"); !isConfigError(err) {
		t.Errorf("the topic itself: %v", err)
	}
	_, err = transport.DeriveTopic(func(string) string { panic("boom") }, "t")
	if _, ok := errors.AsType[*events.PanicError](err); !ok {
		t.Errorf("a panic: %v", err)
	}
}

func isConfigError(err error) bool {
	_, ok := errors.AsType[*events.ConfigError](err)
	return ok
}
