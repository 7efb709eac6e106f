package router

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// A worker begins the next delivery in the step that ends one: that must keep neither a
// ready delivery from another worker, nor an outcome from being settled.
func TestQuickHandlersWaitForNoSlowOne(t *testing.T) {
	for _, c := range []struct {
		name string
		lane LaneConfig
	}{
		{"without order", LaneConfig{Name: "l", Concurrency: 3}},
		{"by key", LaneConfig{Name: "l", Concurrency: 3, OrderBy: func(msg *message.Message) string { return msg.UUID }}},
	} {
		bubble(t, c.name, func(t *testing.T) {
			f := newFake()
			r := newRouter(t, f)
			l, err := r.Lane(c.lane)
			must(t, err)
			free := make(chan struct{})
			must(t, l.HandleMessage("slow", func(*message.Message) error { <-free; return nil }))
			must(t, l.HandleMessage("quick", nothing))
			stop := start(t, r)
			keys := 0
			for _, kind := range []string{"quick", "slow", "quick", "quick", "slow", "quick", "quick"} {
				d := delivery(kind)
				d.Message.UUID = []string{"a", "b", "c"}[keys%3] // the slow ones have b
				keys++
				f.in <- d
			}
			synctest.Wait()
			// Of key b there are "slow", and then another "slow" behind it.
			want := 5
			if got := len(f.settled()); got != want {
				t.Errorf("%d are settled while slow handlers run, want %d", got, want)
			}
			close(free)
			synctest.Wait()
			if got := len(f.settled()); got != 7 {
				t.Errorf("%d are settled, want 7", got)
			}
			must(t, stop())
		})
	}
}

// The header of a handler's context is that of the message as it was delivered, whoever
// asks first, and when.
func TestTheHeaderOfAHandlersContextIsThatOfTheDelivery(t *testing.T) {
	bubble(t, "header", func(t *testing.T) {
		f := newFake()
		r := newRouter(t, f)
		var got [4]events.Header
		replace := func(next message.HandlerFunc) message.HandlerFunc { // as middleware.Upcast does
			return func(msg *message.Message) ([]*message.Message, error) {
				metadata, id := msg.Metadata, msg.UUID
				defer func() { msg.Metadata, msg.UUID = metadata, id }()
				msg.Metadata, msg.UUID = message.Metadata{events.MetadataType: "other"}, "other"
				return next(msg)
			}
		}
		must(t, r.HandleMessage("a", func(msg *message.Message) error {
			var asking sync.WaitGroup
			for i := range got {
				asking.Go(func() { got[i], _ = events.HeaderFromContext(msg.Context()) })
			}
			asking.Wait()
			return nil
		}, replace))
		stop := start(t, r)
		d := delivery("a")
		want := events.HeaderOf(d.Message)
		f.in <- d
		synctest.Wait()
		must(t, stop())
		for _, h := range got {
			if h != want || h.Type != "a" {
				t.Errorf("header %+v, want %+v", h, want)
			}
		}
	})
}
