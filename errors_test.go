package events_test

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

func TestTheOutermostErrorClassCounts(t *testing.T) {
	for _, tt := range []struct {
		err                error
		permanent, discard bool
		delay              time.Duration
		delayed            bool
	}{
		{err: nil},
		{err: io.EOF},
		{err: events.Permanent(io.EOF), permanent: true},
		{err: fmt.Errorf("wrapped: %w", events.Permanent(io.EOF)), permanent: true},
		{err: events.Discard(io.EOF), discard: true},
		{err: events.RetryAfter(time.Minute, io.EOF), delay: time.Minute, delayed: true},
		{err: events.RetryAfter(-1, io.EOF), delayed: true},
		{err: events.RetryAfter(time.Second, events.Permanent(io.EOF)), delay: time.Second, delayed: true},
		{err: events.Permanent(events.RetryAfter(time.Second, io.EOF)), permanent: true},
		{err: events.Snooze(time.Minute, events.Permanent(io.EOF)), delay: time.Minute, delayed: true},
		{err: events.Snooze(-1, io.EOF), delayed: true},
		{err: events.Snooze(1, nil)},
		{err: events.Permanent(nil)},
		{err: events.RetryAfter(1, nil)},
		{err: events.Discard(nil)},
	} {
		delay, delayed := events.RetryDelay(tt.err)
		if events.IsPermanent(tt.err) != tt.permanent || events.IsDiscard(tt.err) != tt.discard || delay != tt.delay || delayed != tt.delayed {
			t.Errorf("%v: permanent %v, discard %v, delay %v %v", tt.err, events.IsPermanent(tt.err), events.IsDiscard(tt.err), delay, delayed)
		}
		if snoozed := events.IsSnooze(tt.err); snoozed && !delayed {
			t.Errorf("%v is put off for no time", tt.err)
		}
		if tt.err != nil && !errors.Is(tt.err, io.EOF) {
			t.Errorf("%v hides its cause", tt.err)
		}
	}
}

func TestPanicErrorUnwrapsToThePanickedError(t *testing.T) {
	if !errors.Is(&events.PanicError{Value: io.EOF}, io.EOF) || errors.Is(&events.PanicError{Value: "x"}, io.EOF) {
		t.Error("PanicError does not unwrap to the value of the panic")
	}
}

func TestPublishErrorListsWhatFailed(t *testing.T) {
	var failed []events.FailedMessage
	for i := range 5 {
		msg := message.NewMessage(fmt.Sprint("id", i), nil)
		msg.Metadata[events.MetadataType] = "a.b"
		failed = append(failed, events.FailedMessage{Topic: "t", Message: msg, Err: fmt.Errorf("e%d: %w", i, io.EOF)})
	}
	err := &events.PublishError{Topic: "t", Total: 9, Failed: failed}
	const want = `publish to "t": 5 of 9 messages failed: a.b id0: e0: EOF; a.b id1: e1: EOF; a.b id2: e2: EOF; and 2 more`
	if err.Error() != want {
		t.Errorf("got  %s\nwant %s", err, want)
	}
	if !errors.Is(err, io.EOF) {
		t.Error("hides its causes")
	}
}
