package transporttest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

var errBroken = errors.New("the mail server is broken")

func retryComesBackLater(t *testing.T, e *env) {
	const delay = 300 * time.Millisecond
	e.publish(3)
	r := e.receiver("g")
	got := e.receive(r, 3)
	start := time.Now()
	e.settle(r, got[0].Retry(delay, errBroken), got[1].Ack(), got[2].Ack())
	e.publish(1) // Others flow meanwhile.
	other := e.receive(r, 1)[0]
	if other.Attempt != 1 {
		t.Errorf("the retry came before what was published in between, after %v", time.Since(start))
	}
	e.settle(r, other.Ack())
	again := e.receive(r, 1)[0]
	if took := time.Since(start); took < delay {
		t.Errorf("came back after %v, before the %v asked for", took, delay)
	}
	if again.Message.UUID != "0" || again.Attempt != 2 || again.ID != got[0].ID || again.Topic != e.topic || string(again.Message.Payload) != "payload 0" {
		t.Errorf("came back as %+v", again)
	}
	if again.Stored.UnixMilli() != got[0].Stored.UnixMilli() {
		t.Errorf("stored %v, at first %v", again.Stored, got[0].Stored)
	}
	e.settle(r, again.Retry(0, errBroken))
	third := e.receive(r, 1)[0]
	if third.Attempt != 3 {
		t.Errorf("attempt %d, want 3", third.Attempt)
	}
	e.settle(r, third.Ack())
	e.nothing(r, 50*time.Millisecond)
}

func retryIsPrivateToItsGroup(_ *testing.T, e *env) {
	e.publish(1)
	a, b := e.receiver("a"), e.receiver("b")
	e.settle(b, e.receive(b, 1)[0].Ack())
	e.settle(a, e.receive(a, 1)[0].Retry(0, errBroken))
	e.settle(a, e.receive(a, 1)[0].Ack())
	e.nothing(b, 100*time.Millisecond)
}

func deadLetterIsStoredWithItsFailure(t *testing.T, e *env) {
	e.publish(2)
	r := e.receiver("g")
	if !r.Capabilities().DeadLetter || e.DeadLetters == nil {
		t.Skip("the transport has no dead letters")
	}
	got := e.receive(r, 2)
	outcome := got[1].DeadLetter(errBroken)
	outcome.Metadata["extra"] = "more"
	e.settle(r, got[0].Ack(), outcome)
	dead := e.DeadLetters(t, e.topic)
	if len(dead) != 1 {
		t.Fatalf("%d dead letters, want 1", len(dead))
	}
	if dead[0].UUID != "1" || string(dead[0].Payload) != "payload 1" {
		t.Errorf("dead letter %s %q", dead[0].UUID, dead[0].Payload)
	}
	for key, want := range map[string]string{
		"number":                          "1",
		"extra":                           "more",
		transport.MetadataFailureReason:   errBroken.Error(),
		transport.MetadataFailureTopic:    e.topic,
		transport.MetadataFailureID:       got[1].ID,
		transport.MetadataFailureAttempts: "1",
	} {
		if dead[0].Metadata[key] != want {
			t.Errorf("metadata %s is %q, want %q", key, dead[0].Metadata[key], want)
		}
	}
	e.nothing(r, 50*time.Millisecond)
}

func releaseComesBackAtOnce(t *testing.T, e *env) {
	e.publish(1)
	r := e.receiver("g")
	for range 3 {
		d := e.receive(r, 1)[0]
		if d.Attempt != 1 {
			t.Fatalf("attempt %d: a release was counted", d.Attempt)
		}
		e.settle(r, d.Release())
	}
	e.settle(r, e.receive(r, 1)[0].Ack())
	e.nothing(r, 50*time.Millisecond)
}

func settlingTwiceChangesNothing(t *testing.T, e *env) {
	e.publish(1)
	r := e.receiver("g")
	d := e.receive(r, 1)[0]
	e.settle(r, d.Ack())
	e.settle(r, d.Ack(), d.Retry(0, errBroken), d.Release())
	e.nothing(r, 100*time.Millisecond)
	if d.Message.Context().Err() == nil {
		t.Error("the context of a settled delivery has not ended")
	}
}

func closeReleasesWhatIsHeld(t *testing.T, e *env) {
	e.publish(5)
	first := e.receiver("g")
	held := e.receive(first, 2) // The transport may have more of them ready.
	e.settle(first, held[0].Ack())
	e.check(first.Close())
	e.check(first.Close())
	if _, err := first.Receive(e.context(), 1); !errors.Is(err, events.ErrClosed) {
		t.Errorf("receive after Close: %v, want events.ErrClosed", err)
	}
	second := e.receiver("g")
	for _, d := range e.receive(second, 4) {
		if d.Attempt != 1 {
			t.Errorf("message %s: attempt %d: closing was counted", d.Message.UUID, d.Attempt)
		}
		e.settle(second, d.Ack())
	}
	e.nothing(second, 50*time.Millisecond)
}

func livingReceiverKeepsItsLease(t *testing.T, e *env) {
	if e.Lease == 0 {
		t.Skip("the harness names no lease")
	}
	e.publish(1)
	slow := e.receiver("g")
	d := e.receive(slow, 1)[0]
	e.nothing(e.receiver("g"), 3*e.Lease)
	if err := d.Message.Context().Err(); err != nil {
		t.Errorf("the context has ended: %v", err)
	}
	e.settle(slow, d.Ack())
}

func crashedReceiversMessagesGoToOthers(t *testing.T, e *env) {
	if e.Crash == nil {
		t.Skip("the harness cannot crash a receiver")
	}
	e.publish(3)
	crashed := e.receiver("g")
	held := e.receive(crashed, 3)
	e.Crash(t, crashed)
	heir := e.receiver("g")
	got := e.receive(heir, 3)
	for _, d := range got {
		if d.Attempt != 2 {
			t.Errorf("message %s: attempt %d, want 2", d.Message.UUID, d.Attempt)
		}
	}
	// Too late: this changes nothing.
	e.settle(crashed, held[0].Ack(), held[1].Retry(0, errBroken), held[2].DeadLetter(errBroken))
	for _, d := range got {
		if err := d.Message.Context().Err(); err != nil {
			t.Errorf("message %s: its context has ended: %v", d.Message.UUID, err)
		}
	}
	e.settle(heir, got[0].Retry(0, errBroken), got[1].Ack(), got[2].Ack())
	e.settle(heir, e.receive(heir, 1)[0].Ack())
	e.nothing(heir, 100*time.Millisecond)
}

func subscriberAcksAndNacks(t *testing.T, e *env) {
	e.publish(4)
	msgs, err := e.subscriber("g").Subscribe(e.context(), e.topic)
	e.check(err)
	times := map[string]int{}
	for range 5 { // one of them twice
		select {
		case msg := <-msgs:
			times[msg.UUID]++
			if msg.UUID == "0" && times["0"] == 1 {
				msg.Nack()
				continue
			}
			msg.Ack()
			select {
			case <-msg.Context().Done():
			case <-time.After(patience):
				t.Error("the context of an acked message does not end")
			}
		case <-time.After(patience):
			t.Fatalf("received %v", times)
		}
	}
	for id, want := range map[string]int{"0": 2, "1": 1, "2": 1, "3": 1} {
		if times[id] != want {
			t.Errorf("message %s came %d times, want %d", id, times[id], want)
		}
	}
}

func subscriberEndsWithItsContext(t *testing.T, e *env) {
	e.publish(2)
	sub := e.subscriber("g")
	ctx, cancel := context.WithCancel(e.context())
	msgs, err := sub.Subscribe(ctx, e.topic)
	e.check(err)
	(<-msgs).Ack()
	open := <-msgs
	cancel()
	for range msgs { // until it is closed
	}
	if cause := context.Cause(open.Context()); cause == nil || strings.Contains(cause.Error(), "lease") {
		t.Errorf("the context of an open message ended with %v", cause)
	}
	r := e.receiver("g")
	d := e.receive(r, 1)[0]
	if d.Message.UUID != open.UUID || d.Attempt != 1 {
		t.Errorf("came back: message %s, attempt %d", d.Message.UUID, d.Attempt)
	}
	e.settle(r, d.Ack())
}
