package router

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

func keyInMetadata(msg *message.Message) string { return msg.Metadata["key"] }

func withKey(id, eventType, key string) *message.Message {
	msg := typed(id, eventType)
	msg.Metadata["key"] = key
	return msg
}

func TestTableSpreadsATopicByKeyAndKeepsTheOrderOfAKey(t *testing.T) {
	main := &capture{}
	table := newTable(t, map[string]message.Publisher{"main": main}, Route{Pattern: "order.*", Transport: "main", Prefix: "p:", Partitions: 8, PartitionBy: keyInMetadata})
	var messages []*message.Message
	for i := range 200 {
		messages = append(messages, withKey(fmt.Sprint(i), "order.paid", fmt.Sprint("k", i%20)))
	}
	must(t, table.Publish("orders", messages...))
	if main.calls != 8 {
		t.Errorf("%d calls, want one for each partition", main.calls)
	}
	var known []string
	last := map[string]int{}
	for i, msg := range main.got {
		key, n := keyInMetadata(msg), 0
		if want := transport.PartitionTopics("p:orders", 8)[transport.PartitionOf(key, 8)]; main.topic[i] != want {
			t.Errorf("%s went to %s, want %s", key, main.topic[i], want)
		}
		if _, err := fmt.Sscan(msg.UUID, &n); err != nil || n < last[key] {
			t.Errorf("message %d of %s comes after %d (%v)", n, key, last[key], err)
		}
		last[key] = n
		if !slices.Contains(known, main.topic[i]) {
			known = append(known, main.topic[i])
		}
	}
	if len(main.got) != 200 || len(known) != 8 {
		t.Errorf("%d messages in %v", len(main.got), known)
	}
}

func TestTableSpreadsMessagesWithoutAKeyByTheirIDs(t *testing.T) {
	main := &capture{}
	table := newTable(t, map[string]message.Publisher{"main": main}, Route{Pattern: "order.*", Transport: "main", Partitions: 4, PartitionBy: keyInMetadata})
	for i := range 100 {
		must(t, table.Publish("orders", typed(fmt.Sprint("id-", i), "order.paid")))
	}
	slices.Sort(main.topic)
	if got := slices.Compact(main.topic); !slices.Equal(got, transport.PartitionTopics("orders", 4)) {
		t.Errorf("topics %v", got)
	}
}

func TestTablePublishesTheOthersWhenPartitionByPanics(t *testing.T) {
	main := &capture{}
	table := newTable(t, map[string]message.Publisher{"main": main}, Route{Pattern: "order.*", Transport: "main", Partitions: 4, PartitionBy: func(msg *message.Message) string {
		if msg.UUID == "bad" {
			panic("no key")
		}
		return "k"
	}})
	bad := typed("bad", "order.paid")
	err := table.Publish("orders", typed("1", "order.paid"), bad, typed("2", "order.paid"))
	failed, _ := errors.AsType[*events.PublishError](err)
	panicked, ok := errors.AsType[*events.PanicError](err)
	if failed == nil || !ok || panicked.Value != "no key" || len(failed.Failed) != 1 || failed.Failed[0].Message != bad {
		t.Errorf("got %v", err)
	}
	if got := uuids(main.got); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("published %v", got)
	}
}
