package transporttest

import (
	"errors"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

func nilMessageIsRefused(t *testing.T, e *env) {
	if err := e.pub.Publish(e.topic, nil); err == nil {
		t.Error("a nil message was published")
	}
}

func publishAfterCloseFails(t *testing.T, e *env) {
	e.check(e.pub.Close())
	if err := e.pub.Publish(e.topic, message.NewMessage("1", nil)); !errors.Is(err, events.ErrClosed) {
		t.Errorf("publish after Close: %v, want events.ErrClosed", err)
	}
}

func topicsThatAreNoneAreNotPublishedTo(t *testing.T, e *env) {
	for _, topic := range []string{"", e.topic + "}", "{}" + e.topic} {
		e.wantConfigError(e.pub.Publish(topic, message.NewMessage("1", nil)), "publish to %q", topic)
	}
}

func topicsThatAreNoneAreNotReceived(t *testing.T, e *env) {
	source := e.source("g")
	for _, topics := range [][]string{
		nil,
		{""},
		{e.topic, ""},
		{e.topic + "}"},
		{"{}" + e.topic},
		{e.topic, e.topic},
		{e.topic, "{" + e.topic + "}"},
	} {
		r, err := source.Receiver(topics...)
		if err == nil {
			e.check(r.Close())
		}
		e.wantConfigError(err, "receiver on %q", topics)
	}
}

func (e *env) wantConfigError(err error, format string, args ...any) {
	e.t.Helper()
	if _, ok := errors.AsType[*events.ConfigError](err); !ok {
		e.t.Errorf(format+": got %v, want an *events.ConfigError", append(args, err)...)
	}
}

func closedSubscriberOpensNothing(t *testing.T, e *env) {
	sub := e.subscriber("g")
	e.check(sub.Close())
	if _, err := sub.Subscribe(e.context(), e.topic); !errors.Is(err, events.ErrClosed) {
		t.Errorf("Subscribe after Close: %v, want events.ErrClosed", err)
	}
	source, ok := sub.(transport.Source)
	if !ok {
		t.Fatal("the subscriber is no transport.Source")
	}
	r, err := source.Receiver(e.topic)
	if err == nil {
		e.check(r.Close())
	}
	if !errors.Is(err, events.ErrClosed) {
		t.Errorf("Receiver after Close: %v, want events.ErrClosed", err)
	}
}

func outcomesThatAreNoneAreReported(t *testing.T, e *env) {
	if e.Lease == 0 {
		t.Skip("the harness names no lease")
	}
	e.publish(3)
	r := e.receiver("g")
	got := e.receive(r, 3)
	start := time.Now()
	err := r.Settle(e.context(),
		transport.Outcome{Delivery: got[0]},
		got[1].Ack(),
		transport.Outcome{Delivery: got[2], Settlement: transport.Release + 1},
		transport.Outcome{Settlement: transport.Ack},
	)
	failed, ok := errors.AsType[*transport.SettleError](err)
	if !ok || len(failed.Unsettled) != 3 || failed.Error() == "" {
		t.Fatalf("got %v, want a *transport.SettleError with 3 outcomes", err)
	}
	reported := map[*transport.Delivery]bool{}
	for _, u := range failed.Unsettled {
		reported[u.Outcome.Delivery] = true
	}
	if !reported[got[0]] || !reported[got[2]] || !reported[nil] {
		t.Errorf("wrong outcomes are reported: %v", err)
	}
	// Nobody is at work on them any more, so they come again.
	for _, d := range e.receive(r, 2) {
		if d.Message.UUID == "1" || d.Attempt != 2 {
			t.Errorf("message %s came again, attempt %d, after %v", d.Message.UUID, d.Attempt, time.Since(start))
		}
		e.settle(r, d.Ack())
	}
	e.nothing(r, 50*time.Millisecond)
}
