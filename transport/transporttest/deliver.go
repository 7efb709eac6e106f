package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

func messagesArriveAsPublished(t *testing.T, e *env) {
	sent := []*message.Message{
		message.NewMessage("text", []byte("text")),
		message.NewMessage("binary", []byte("\x00\xff\r\n\xc1")),
		message.NewMessage("empty", nil),
		message.NewMessage("large", bytes.Repeat([]byte("0123456789abcdef"), 4096)),
		message.NewMessage("", []byte("no id")),
	}
	sent[0].Metadata["key"] = "value"
	sent[0].Metadata["ключ"] = "зна\x00чение"
	sent[1].Metadata = nil
	before := time.Now().Add(-time.Second)
	for _, msg := range sent {
		e.check(e.pub.Publish(e.topic, msg))
	}
	r := e.receiver("g")
	got := e.receive(r, len(sent))
	for i, d := range got {
		want := sent[i]
		if d.Message.UUID != want.UUID || !bytes.Equal(d.Message.Payload, want.Payload) || !sameMetadata(d.Message.Metadata, want.Metadata) {
			t.Errorf("message %d arrived as %q %v, %d bytes", i, d.Message.UUID, d.Message.Metadata, len(d.Message.Payload))
		}
		if d.Topic != e.topic || d.ID == "" || d.Attempt != 1 {
			t.Errorf("delivery %d: topic %q, id %q, attempt %d", i, d.Topic, d.ID, d.Attempt)
		}
		if !d.Stored.IsZero() && (d.Stored.Before(before) || d.Stored.After(time.Now().Add(time.Second))) {
			t.Errorf("delivery %d: stored %v", i, d.Stored)
		}
		if err := d.Message.Context().Err(); err != nil {
			t.Errorf("delivery %d: its context has ended: %v", i, err)
		}
	}
	e.settle(r, acks(got)...)
}

func bulkPublishKeepsOrder(t *testing.T, e *env) {
	e.publish(500)
	r := e.receiver("g")
	got := e.receive(r, 500)
	for i, d := range got {
		if d.Message.UUID != fmt.Sprint(i) {
			t.Fatalf("delivery %d is message %s", i, d.Message.UUID)
		}
	}
	e.settle(r, acks(got)...)
}

func receiveReturnsAtMostMax(t *testing.T, e *env) {
	e.publish(10)
	r := e.receiver("g")
	for range 4 {
		page, err := r.Receive(e.context(), 3)
		e.check(err)
		if len(page) == 0 || len(page) > 3 {
			t.Fatalf("received %d deliveries, asked for at most 3", len(page))
		}
		e.settle(r, acks(page)...)
	}
}

func receiveEndsWithItsContext(t *testing.T, e *env) {
	r := e.receiver("g")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := r.Receive(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("returned after %v", took)
	}
	e.publish(1) // What comes later is not lost to the call that gave up.
	e.settle(r, e.receive(r, 1)[0].Ack())
}

func eachGroupGetsEveryMessage(_ *testing.T, e *env) {
	e.publish(20)
	for _, group := range []string{"a", "b"} {
		r := e.receiver(group)
		e.settle(r, acks(e.receive(r, 20))...)
		e.nothing(r, 50*time.Millisecond)
	}
}

func receiversOfOneGroupShare(t *testing.T, e *env) {
	const n = 200
	e.publish(n)
	type received struct {
		ids []string
		err error
	}
	ctx, cancel := context.WithCancel(e.context())
	defer cancel()
	results := make(chan received)
	progress := make(chan int)
	for _, r := range []transport.Receiver{e.receiver("g"), e.receiver("g")} {
		go func() {
			var all received
			for {
				page, err := r.Receive(ctx, 7)
				if err != nil {
					results <- all
					return
				}
				for _, d := range page {
					all.ids = append(all.ids, d.Message.UUID)
				}
				if err := r.Settle(context.WithoutCancel(ctx), acks(page)...); err != nil {
					all.err = err
				}
				progress <- len(page)
			}
		}()
	}
	for total := 0; total < n; {
		select {
		case k := <-progress:
			total += k
		case <-ctx.Done():
			t.Fatalf("%d of %d received", total, n)
		}
	}
	cancel()
	seen := map[string]int{}
	for range 2 {
		select {
		case got := <-results:
			e.check(got.err)
			for _, id := range got.ids {
				seen[id]++
			}
		case <-progress:
			t.Fatal("more was delivered than published")
		}
	}
	for id, times := range seen {
		if times != 1 {
			t.Errorf("message %s was delivered %d times", id, times)
		}
	}
	if len(seen) != n {
		t.Errorf("%d messages were delivered, want %d", len(seen), n)
	}
}
