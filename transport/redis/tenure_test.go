package redis

import (
	"context"
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
	e := &entry{stream: s, receiver: r, state: ready}
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
