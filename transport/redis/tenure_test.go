package redis

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"
)

// The server still says that a topic is ours, after its end had come here: what was read and
// not handed out is taken over again, in order, and readers that have nothing to read are told.
func TestATenureThatWasInDoubtBeginsWithWhatIsPending(t *testing.T) {
	r := &receiver{
		cfg: SubscriberConfig{Exclusive: true, Lease: time.Minute, Logger: slog.New(slog.DiscardHandler)},
		ctx: context.Background(), arrived: make(chan struct{}, 1), taken: make(chan struct{}, 1), tenuresChanged: make(chan struct{}),
	}
	s := &stream{topic: "t", key: "t"}
	s.tenure = &tenure{topic: "t", streams: []*stream{s, {topic: "t", retry: true}}, phase: owned, number: 1, until: time.Now().Add(-time.Second), open: 1}
	e := &entry{record: &record{stream: s, receiver: r}, state: ready}
	e.Message = &e.message
	r.held.push(e)
	r.queue = append(r.queue, e)

	var p pageOfEntries
	read, behind, changed := r.readable(&p, []*stream{s})
	if len(read) > 0 || behind != nil || len(p.marks) > 0 {
		t.Errorf("read %v, behind %v", read, behind)
	}
	if page := r.dequeue(1); len(page) > 0 {
		t.Error("a message is handed out though the tenure is in doubt")
	}
	r.apply(s.tenure, 1, time.Now())
	select {
	case <-changed:
	default:
		t.Error("the reader is not told")
	}
	if r.held.size != 0 || s.tenure.open != 0 {
		t.Errorf("%d are held, %d open", r.held.size, s.tenure.open)
	}
	if _, behind, _ := r.readable(&p, []*stream{s}); behind != s || s.tenure.number != 2 {
		t.Errorf("behind %v, tenure %d", behind, s.tenure.number)
	}
}

// Of a packed entry that is with handlers in part, the rest would not be read again: the
// entry is held. It comes next, before what is read again.
func TestATenureThatWasInDoubtGoesOnWithAnEntryThatHasBegun(t *testing.T) {
	r := &receiver{
		cfg: SubscriberConfig{Exclusive: true, Lease: time.Minute, Logger: slog.New(slog.DiscardHandler)},
		ctx: context.Background(), arrived: make(chan struct{}, 1), taken: make(chan struct{}, 1), tenuresChanged: make(chan struct{}),
	}
	s := &stream{topic: "t", key: "t"}
	s.tenure = &tenure{topic: "t", streams: []*stream{s, {topic: "t", retry: true}}, phase: owned, number: 1, until: time.Now().Add(time.Minute), open: 4}
	b := &bundle{messages: 3, items: make([]entry, 3)}
	one, two := &record{stream: s, receiver: r, id: "1-0", bundle: b}, &record{stream: s, receiver: r, id: "2-0"}
	held := []*entry{&b.items[0], &b.items[1], &b.items[2], {record: two}}
	held[3].ID = "2-0"
	for i, e := range held {
		e.state, e.Message = ready, &e.message
		if i < len(b.items) {
			e.record, e.item, e.ID = one, int32(i), fmt.Sprintf("1-0#%d", i)
		}
		r.held.push(e)
		r.queue = append(r.queue, e)
	}
	if page := r.dequeue(1); len(page) != 1 || page[0].ID != "1-0#0" {
		t.Fatalf("handed out %v", page)
	}
	s.tenure.until = time.Now().Add(-time.Second)
	if page := r.dequeue(1); len(page) > 0 {
		t.Error("a message is handed out though the tenure is in doubt")
	}
	r.apply(s.tenure, 1, time.Now())
	if r.held.size != 3 || s.tenure.open != 3 {
		t.Errorf("%d are held, %d open", r.held.size, s.tenure.open)
	}
	page := r.dequeue(9)
	if len(page) != 2 || page[0].ID != "1-0#1" || page[1].ID != "1-0#2" || r.queueBytes != 0 {
		t.Errorf("handed out %v, %d bytes wait", page, r.queueBytes)
	}
}
