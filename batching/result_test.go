package batching_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
)

// What the publisher beneath says decides which messages count as failed; where
// it is not clear, a message counts as failed rather than as delivered.
func TestWhichMessagesOfABatchCountAsFailed(t *testing.T) {
	down := errors.New("down")
	list := func(err error, msgs ...*message.Message) *events.PublishError {
		e := &events.PublishError{Topic: "t", Total: 3}
		for _, m := range msgs {
			e.Failed = append(e.Failed, events.FailedMessage{Topic: "t", Message: m, Err: err})
		}
		return e
	}
	for name, tt := range map[string]struct {
		says func(msgs []*message.Message) error
		want string
	}{
		"nothing":                 {func([]*message.Message) error { return nil }, "[]"},
		"a plain error":           {func([]*message.Message) error { return down }, "[0 1 2]"},
		"one listed":              {func(m []*message.Message) error { return list(down, m[1]) }, "[1]"},
		"one listed, wrapped":     {func(m []*message.Message) error { return fmt.Errorf("x: %w", list(down, m[1])) }, "[1]"},
		"a copy listed":           {func(m []*message.Message) error { return list(down, m[1].Copy()) }, "[1]"},
		"listed without an error": {func(m []*message.Message) error { return list(nil, m[1]) }, "[1]"},
		"an empty list":           {func([]*message.Message) error { return list(down) }, "[0 1 2]"},
		"a stranger listed":       {func([]*message.Message) error { return list(down, msg("x", "a")) }, "[0 1 2]"},
		"nil listed":              {func([]*message.Message) error { return list(down, nil) }, "[0 1 2]"},
		"a list and more": {func(m []*message.Message) error {
			return errors.Join(list(down, m[0]), list(down, m[1]))
		}, "[0 1 2]"},
		"a panic": {func([]*message.Message) error { panic(down) }, "[0 1 2]"},
	} {
		p := newPublisher(t, &target{fail: func(_ string, msgs []*message.Message) error { return tt.says(msgs) }}, batching.Config{Mode: batching.Buffered})
		check(t, p.Publish("t", msg("0", "a"), msg("1", "a"), msg("2", "a")))
		check(t, p.Close())
		ids := []string{}
		for _, f := range p.FailedMessages() {
			ids = append(ids, f.Message.UUID)
			if f.Err == nil {
				t.Errorf("%s: no error with %s", name, f.Message.UUID)
			}
			if _, ok := errors.AsType[*events.PanicError](f.Err); ok != (name == "a panic") {
				t.Errorf("%s: %v", name, f.Err)
			}
		}
		if got := fmt.Sprint(ids); got != tt.want {
			t.Errorf("%s: failed %s, want %s", name, got, tt.want)
		}
	}
}

// A publisher that makes copies can name messages by their UUIDs only.
func TestNoneOfTwoMessagesWithOneUUIDIsLost(t *testing.T) {
	down := errors.New("down")
	for _, uuid := range []string{"same", ""} {
		out := &target{fail: func(_ string, msgs []*message.Message) error {
			failed := &events.PublishError{Topic: "t", Total: len(msgs)}
			for _, m := range msgs[1:] {
				failed.Failed = append(failed.Failed, events.FailedMessage{Topic: "t", Message: m.Copy(), Err: down})
			}
			return failed
		}}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered})
		check(t, p.Publish("t", msg("first", "a"), msg(uuid, "a"), msg(uuid, "a")))
		check(t, p.Close())
		kept := 0
		for _, f := range p.FailedMessages() {
			if f.Message.UUID == uuid {
				kept++
			}
		}
		if kept != 2 {
			t.Errorf("UUID %q: %d of 2 failed messages are kept", uuid, kept)
		}
	}
}

func TestAStrategyThatPanicsFailsItsMessageOnly(t *testing.T) {
	for _, mode := range []batching.Mode{batching.Wait, batching.Buffered} {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: mode, Strategy: func(_ string, m *message.Message) string {
			if m.UUID == "bad" {
				panic("strategy")
			}
			return ""
		}})
		if _, ok := errors.AsType[*events.PanicError](p.Publish("t", msg("bad", "a"))); !ok {
			t.Error("not told of the panic")
		}
		if stats := p.MemoryStats(); stats.Messages != 0 || stats.Bytes != 0 {
			t.Errorf("room is lost: %+v", stats)
		}
		check(t, p.Publish("t", msg("good", "a")))
		check(t, p.Close())
		expect(t, out, []string{"good"})
	}
}
