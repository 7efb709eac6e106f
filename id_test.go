package events_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/logistically/events"
)

// Ids say when they were made, ascend for each who makes them, and none comes twice,
// also when many are made faster than their clock ticks.
func TestIdsAscendAndAreOfTheirTime(t *testing.T) {
	p := newPublisher(t, &sink{}, events.PublisherConfig{})
	const makers, calls, bulk = 8, 50, 100
	all := make([][]string, makers)
	start := time.Now().Truncate(time.Millisecond)
	var running sync.WaitGroup
	for i := range makers {
		running.Go(func() {
			for range calls {
				one, err := p.Message(t.Context(), "user.created", 1)
				if err != nil {
					t.Error(err)
					return
				}
				all[i] = append(all[i], one.UUID)
				many, err := events.Messages(t.Context(), p, "user.created", make([]int, bulk))
				if err != nil {
					t.Error(err)
					return
				}
				for _, msg := range many {
					all[i] = append(all[i], msg.UUID)
				}
			}
		})
	}
	running.Wait()
	end := time.Now().Add(makers * calls * bulk * time.Microsecond) // Ids may run ahead.
	seen := map[string]bool{}
	for i, ids := range all {
		if len(ids) != calls*(bulk+1) || !slices.IsSorted(ids) {
			t.Errorf("maker %d: %d ids do not ascend", i, len(ids))
		}
		for _, text := range ids {
			id, err := uuid.Parse(text)
			if err != nil || id.Version() != 7 || id.Variant() != uuid.RFC4122 || seen[text] {
				t.Fatalf("%q is no UUIDv7 or came twice: %v", text, err)
			}
			seen[text] = true
			sec, nano := id.Time().UnixTime()
			if at := time.Unix(sec, nano); at.Before(start) || at.After(end) {
				t.Fatalf("%s is of %v, made between %v and %v", text, at, start, end)
			}
		}
	}
}

// Small bodies share memory among themselves, and with nobody else.
func TestBodiesOfMessagesAreApart(t *testing.T) {
	p := newPublisher(t, &sink{}, events.PublisherConfig{})
	bodies := make([]json.RawMessage, 200)
	for i := range bodies {
		bodies[i] = fmt.Appendf(nil, `{"n":%d,"text":"%0*d"}`, i, i*5, 0) // some small, some large
	}
	msgs, err := events.Messages(t.Context(), p, "user.created", bodies)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]string, len(bodies))
	for i, body := range bodies {
		want[i] = string(body)
		clear(body) // The caller uses its memory again.
	}
	for i, msg := range msgs {
		if string(msg.Payload) != want[i] || events.HeaderOf(msg).Hash != events.Hash(msg.Payload) {
			t.Fatalf("message %d has the body %s", i, msg.Payload)
		}
		_ = append(msg.Payload, "more"...)
	}
}
