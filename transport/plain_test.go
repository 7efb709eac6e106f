package transport_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
)

// plainSubscriber is a Watermill subscriber of the simplest kind: it hands out
// what the test sends, and closes its channels when the context ends.
type plainSubscriber struct {
	topics map[string]chan *message.Message
	ctx    context.Context // of the last subscription
	refuse string          // the topic not to subscribe to
	closed bool
}

func newPlain(topics ...string) *plainSubscriber {
	s := &plainSubscriber{topics: map[string]chan *message.Message{}}
	for _, t := range topics {
		s.topics[t] = make(chan *message.Message, 10)
	}
	return s
}

func (s *plainSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.ctx = ctx
	if topic == s.refuse {
		return nil, errors.New("refused")
	}
	return s.topics[topic], nil
}

func (s *plainSubscriber) Close() error { s.closed = true; return nil }

func (s *plainSubscriber) send(topic string, ids ...string) (sent []*message.Message) {
	for _, id := range ids {
		msg := message.NewMessage(id, nil)
		s.topics[topic] <- msg
		sent = append(sent, msg)
	}
	return sent
}

func state(msg *message.Message) string {
	select {
	case <-msg.Acked():
		return "acked"
	case <-msg.Nacked():
		return "nacked"
	default:
		return "open"
	}
}

func wantState(t *testing.T, msg *message.Message, want string) {
	t.Helper()
	if got := state(msg); got != want {
		t.Errorf("message %s is %s, want %s", msg.UUID, got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fromPlain(t *testing.T, s *plainSubscriber, topics ...string) transport.Receiver {
	t.Helper()
	r, err := transport.FromSubscriber(s, topics...)
	must(t, err)
	return r
}

func receive(t *testing.T, r transport.Receiver, limit int) []*transport.Delivery {
	t.Helper()
	page, err := r.Receive(t.Context(), limit)
	must(t, err)
	return page
}

func TestFromSubscriberReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlain("a", "b")
		r := fromPlain(t, s, "a", "b")
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "own"))
		sent := s.send("a", "1")
		sent[0].SetContext(ctx)
		page := receive(t, r, 5) // A lone message is not delayed.
		if len(page) != 1 || page[0].Topic != "a" || page[0].ID != "1" || page[0].Attempt != 1 || !page[0].Stored.IsZero() || r.Capabilities() != (transport.Capabilities{}) {
			t.Fatalf("got %+v", page)
		}
		if page[0].Message != sent[0] || sent[0].Context().Value(key{}) != "own" || sent[0].Context().Err() != nil {
			t.Error("the message is not the subscriber's own")
		}
		cancel()

		s.send("a", "2", "3", "4", "5")
		s.send("b", "6")
		if n := len(receive(t, r, 3)) + len(receive(t, r, 9)); n != 5 {
			t.Errorf("received %d, want 5", n)
		}
		late := make(chan []*transport.Delivery)
		go func() {
			page, err := r.Receive(t.Context(), 5)
			if err != nil {
				t.Error(err)
			}
			late <- page
		}()
		synctest.Wait()
		s.send("b", "7")
		if page := <-late; len(page) != 1 || page[0].Topic != "b" {
			t.Errorf("got %+v", page)
		}
		must(t, r.Close())
	})
}

func TestFromSubscriberServesAllTopicsInTurn(t *testing.T) {
	s := newPlain("a", "b")
	r := fromPlain(t, s, "a", "b")
	s.send("a", "1", "2", "3", "4")
	s.send("b", "5", "6", "7", "8")
	seen := map[string]bool{}
	for range 2 {
		seen[receive(t, r, 2)[0].Topic] = true
	}
	if len(seen) != 2 {
		t.Errorf("served only %v", seen)
	}
	must(t, r.Close())
}

func TestFromSubscriberSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlain("a")
		r := fromPlain(t, s, "a")
		sent := s.send("a", "ack", "retry now", "retry later", "dead letter", "release", "twice")
		d := receive(t, r, 10)
		boom := errors.New("boom")
		must(t, r.Settle(t.Context(), d[0].Ack(), d[1].Retry(0, boom), d[2].Retry(time.Minute, boom), d[3].DeadLetter(boom), d[4].Release(), d[5].Ack(), d[5].Release()))
		for i, want := range []string{"acked", "nacked", "open", "nacked", "nacked", "acked"} {
			wantState(t, sent[i], want)
		}
		<-time.After(time.Minute - time.Nanosecond)
		wantState(t, sent[2], "open")
		<-time.After(time.Nanosecond)
		synctest.Wait()
		wantState(t, sent[2], "nacked")
		must(t, r.Close())
	})
}

func TestFromSubscriberCloseNacksWhatIsOpenAndLeavesTheSubscriberOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlain("a")
		r := fromPlain(t, s, "a")
		sent := s.send("a", "open", "waiting")
		d := receive(t, r, 2)
		must(t, r.Settle(t.Context(), d[1].Retry(time.Hour, nil)))
		blocked := make(chan error)
		go func() {
			_, err := r.Receive(t.Context(), 1)
			blocked <- err
		}()
		synctest.Wait()
		begun := time.Now()
		must(t, r.Close())
		must(t, r.Close())
		if took := time.Since(begun); took != 0 {
			t.Errorf("Close waited %v for a retry", took)
		}
		wantState(t, sent[0], "nacked")
		wantState(t, sent[1], "nacked")
		if err := <-blocked; !errors.Is(err, events.ErrClosed) {
			t.Errorf("blocked Receive: %v", err)
		}
		if _, err := r.Receive(t.Context(), 1); !errors.Is(err, events.ErrClosed) {
			t.Errorf("later Receive: %v", err)
		}
		must(t, r.Settle(t.Context(), d[0].Ack()))
		if s.closed || s.ctx.Err() == nil {
			t.Errorf("subscriber closed: %v, subscription's context: %v", s.closed, s.ctx.Err())
		}
	})
}

func TestFromSubscriberReceiveEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlain("a", "b")
		r := fromPlain(t, s, "a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Receive(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		// One subscription ended: the other goes on.
		close(s.topics["a"])
		s.send("b", "1")
		if page := receive(t, r, 5); page[0].ID != "1" {
			t.Errorf("got %+v", page[0])
		}
		time.AfterFunc(time.Second, func() { close(s.topics["b"]) })
		if _, err := r.Receive(t.Context(), 1); !errors.Is(err, events.ErrClosed) {
			t.Errorf("got %v", err)
		}
		must(t, r.Close())
	})
}

func TestFromSubscriberReceiveFailsAfterANilMessage(t *testing.T) {
	for name, before := range map[string][]string{"at once": nil, "after what came before": {"1"}} {
		synctest.Test(t, func(t *testing.T) {
			s := newPlain("a")
			r := fromPlain(t, s, "a")
			s.send("a", before...)
			if before == nil { // Receive waits for it already.
				time.AfterFunc(time.Second, func() { s.topics["a"] <- nil })
			} else {
				s.topics["a"] <- nil
				receive(t, r, 5)
			}
			_, err := r.Receive(t.Context(), 5)
			const want = `transport: receive: the subscriber handed over a nil message on "a": mend the subscriber`
			if err == nil || err.Error() != want {
				t.Errorf("%s: got %v", name, err)
			}
			must(t, r.Close())
		})
	}
}

func TestFromSubscriberRefuses(t *testing.T) {
	for name, make := range map[string]func() (transport.Receiver, error){
		"no subscriber":    func() (transport.Receiver, error) { return transport.FromSubscriber(nil, "a") },
		"a nil pointer":    func() (transport.Receiver, error) { return transport.FromSubscriber((*plainSubscriber)(nil), "a") },
		"no topics":        func() (transport.Receiver, error) { return transport.FromSubscriber(newPlain()) },
		"an empty topic":   func() (transport.Receiver, error) { return transport.FromSubscriber(newPlain(), "") },
		"a repeated topic": func() (transport.Receiver, error) { return transport.FromSubscriber(newPlain(), "a", "a") },
	} {
		_, err := make()
		if _, ok := errors.AsType[*events.ConfigError](err); !ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
	s := newPlain("a", "b")
	s.refuse = "b"
	if _, err := transport.FromSubscriber(s, "a", "b"); err == nil || s.ctx.Err() == nil {
		t.Errorf("got %v, and the first subscription goes on", err)
	}
}
