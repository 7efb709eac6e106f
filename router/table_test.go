package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

func typed(uuid, eventType string) *message.Message {
	msg := message.NewMessage(uuid, nil)
	if eventType != "" {
		msg.Metadata[events.MetadataType] = eventType
	}
	return msg
}

func newTable(t testing.TB, transports map[string]message.Publisher, routes ...Route) *Table {
	t.Helper()
	table, err := NewTable(TableConfig{Default: "main", Transports: transports, Routes: routes})
	must(t, err)
	return table
}

func uuids(messages []*message.Message) (ids []string) {
	for _, m := range messages {
		ids = append(ids, m.UUID)
	}
	return ids
}

func TestTableRoutesByTypeInOneCallForEachTopicOfEachTransport(t *testing.T) {
	main, other := &capture{}, &capture{}
	table := newTable(t, map[string]message.Publisher{"main": main, "other": other},
		Route{Pattern: "user.created", Transport: "main", Prefix: "new:"},
		Route{Pattern: "user.*", Transport: "other", Topic: "users"},
		Route{Pattern: "by-topic", Transport: "other"},
	)
	must(t, table.Publish("in",
		typed("1", "user.created"), typed("2", "user.updated"), typed("3", "order.placed"),
		typed("4", "user.created"), typed("5", "user.deleted"), typed("6", "")))
	if got, want := uuids(main.got), []string{"1", "4", "3", "6"}; !slices.Equal(got, want) || main.calls != 2 {
		t.Errorf("main got %v in %d calls, want %v in 2", got, main.calls, want)
	}
	if want := []string{"new:in", "new:in", "in", "in"}; !slices.Equal(main.topic, want) {
		t.Errorf("topics %v, want %v", main.topic, want)
	}
	if got, want := uuids(other.got), []string{"2", "5"}; !slices.Equal(got, want) || other.calls != 1 || other.topic[0] != "users" {
		t.Errorf("other got %v on %v in %d calls", got, other.topic, other.calls)
	}
	must(t, table.Publish("by-topic", typed("7", "")))
	if other.got[2].UUID != "7" || other.topic[2] != "by-topic" {
		t.Errorf("other got %v on %v", uuids(other.got), other.topic)
	}
	must(t, table.Publish("in"))
}

func TestTableWritesPriorityIntoACopy(t *testing.T) {
	main := &capture{}
	table := newTable(t, map[string]message.Publisher{"main": main}, Route{Pattern: "pay.**", Transport: "main", Priority: PriorityHigh})
	type key struct{}
	given, marked, plain := typed("1", "pay.in"), typed("2", "pay.out"), typed("3", "else")
	given.SetContext(context.WithValue(t.Context(), key{}, "kept"))
	marked.Metadata[events.MetadataPriority] = PriorityHigh
	must(t, table.Publish("in", given, marked, plain))
	got := main.got[0]
	if got == given || got.Metadata[events.MetadataPriority] != PriorityHigh || got.Context().Value(key{}) != "kept" {
		t.Errorf("got %v", got)
	}
	if given.Metadata[events.MetadataPriority] != "" {
		t.Error("the caller's message was changed")
	}
	if main.got[1] != marked || main.got[2] != plain {
		t.Error("copied without need")
	}
}

func TestTableMergesFailures(t *testing.T) {
	broken := errors.New("broken")
	partly := &capture{err: func(topic string, ms []*message.Message) error {
		return fmt.Errorf("wrapped: %w", &events.PublishError{Topic: topic, Total: len(ms), Failed: []events.FailedMessage{{Topic: topic, Message: ms[1], Err: broken}}})
	}}
	wholly := &capture{err: func(string, []*message.Message) error { return broken }}
	strange := &capture{err: func(topic string, ms []*message.Message) error {
		return &events.PublishError{Topic: topic, Total: 1, Failed: []events.FailedMessage{{Topic: topic, Message: typed("?", ""), Err: broken}}}
	}}
	copying := &capture{err: func(topic string, ms []*message.Message) error {
		return &events.PublishError{Topic: topic, Total: 1, Failed: []events.FailedMessage{{Topic: topic, Message: ms[1].Copy(), Err: broken}}}
	}}
	joined := &capture{err: func(topic string, ms []*message.Message) error {
		return errors.Join(&events.PublishError{Topic: topic, Total: len(ms), Failed: []events.FailedMessage{{Topic: topic, Message: ms[0], Err: broken}}}, errors.New("the second destination is down"))
	}}
	table := newTable(t, map[string]message.Publisher{"main": &capture{}, "partly": partly, "wholly": wholly, "strange": strange, "copying": copying, "joined": joined},
		Route{Pattern: "a.*", Transport: "partly", Priority: PriorityLow},
		Route{Pattern: "b.*", Transport: "wholly", Topic: "b"},
		Route{Pattern: "c.*", Transport: "strange"},
		Route{Pattern: "d.*", Transport: "copying"},
		Route{Pattern: "e.*", Transport: "copying", Topic: "e"},
		Route{Pattern: "f.*", Transport: "joined"},
	)
	given := []*message.Message{
		typed("1", "a.x"), typed("2", "b.x"), typed("3", "fine"), typed("4", "a.y"), typed("5", "b.y"), typed("6", "c.x"), typed("7", "d.x"), typed("8", "d.y"),
		typed("", "e.x"), typed("", "e.y"), // which of the two was copied nobody knows
		typed("11", "f.x"), typed("12", "f.y"), // the joined error may be about either
	}
	err := table.Publish("in", given...)
	failed, ok := errors.AsType[*events.PublishError](err)
	if !ok || failed.Total != len(given) || failed.Topic != "in" || !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	var got []*message.Message
	for _, f := range failed.Failed {
		got = append(got, f.Message)
	}
	if want := []*message.Message{given[3], given[1], given[4], given[5], given[7], given[8], given[9], given[10], given[11]}; !slices.Equal(got, want) {
		t.Errorf("failed %v, want %v, as they were passed", uuids(got), uuids(want))
	}
	if failed.Failed[1].Topic != "b" {
		t.Errorf("topic %q, want the transport's", failed.Failed[1].Topic)
	}
}

func TestTableRefusesNilMessagesAndSurvivesAPublisherThatPanics(t *testing.T) {
	main := &capture{}
	table := newTable(t, map[string]message.Publisher{"main": main, "bad": &capture{err: func(string, []*message.Message) error { panic("ouch") }}},
		Route{Pattern: "bad", Transport: "bad"})
	const want = `router: publish 2 messages to "in" by the routing table: message 2 is nil, nothing is published`
	if err := table.Publish("in", typed("1", "a"), nil); err == nil || err.Error() != want || main.calls != 0 {
		t.Errorf("got %v and %d calls", err, main.calls)
	}
	err := table.Publish("in", typed("1", "bad"), typed("2", "a"))
	failed, _ := errors.AsType[*events.PublishError](err)
	if _, ok := errors.AsType[*events.PanicError](err); !ok || failed == nil || len(failed.Failed) != 1 || failed.Failed[0].Message.UUID != "1" {
		t.Errorf("got %v", err)
	}
	if got := uuids(main.got); !slices.Equal(got, []string{"2"}) {
		t.Errorf("main got %v", got)
	}
}

func TestTableClosesNothing(t *testing.T) {
	table := newTable(t, map[string]message.Publisher{"main": &capture{}})
	must(t, table.Close())
	must(t, table.Close())
	if err := table.Publish("in", typed("1", "a")); !errors.Is(err, events.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestTableRefusesConfig(t *testing.T) {
	pubs := map[string]message.Publisher{"main": &capture{}}
	for name, cfg := range map[string]TableConfig{
		"empty default":     {Transports: pubs},
		"unknown default":   {Default: "x", Transports: pubs},
		"nil publisher":     {Default: "main", Transports: map[string]message.Publisher{"main": &capture{}, "x": nil}},
		"nil pointer":       {Default: "main", Transports: map[string]message.Publisher{"main": (*capture)(nil)}},
		"no transport":      {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a"}}},
		"unknown transport": {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a", Transport: "x"}}},
		"bad pattern":       {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a*", Transport: "main"}}},
		"duplicate":         {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a", Transport: "main"}, {Pattern: "a", Transport: "main"}}},
		"covered":           {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a.**", Transport: "main"}, {Pattern: "a.*.c", Transport: "main"}}},
		"unknown priority":  {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a", Transport: "main", Priority: "urgent"}}},
		"prefix and topic":  {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a", Transport: "main", Prefix: "p", Topic: "t"}}},
		"no partitions":     {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a", Transport: "main", PartitionBy: byType}}},
		"no key":            {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a", Transport: "main", Partitions: 4}}},
		"less than none":    {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a", Transport: "main", Partitions: -1, PartitionBy: byType}}},
		"too many":          {Default: "main", Transports: pubs, Routes: []Route{{Pattern: "a", Transport: "main", Partitions: 1<<20 + 1, PartitionBy: byType}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewTable(cfg)
			wantConfigError(t, err)
		})
	}
}
