package transporttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// exclusive opens an exclusive receiver; it is closed with the test.
func (e *env) exclusive(topics ...string) transport.Receiver {
	e.t.Helper()
	sub := e.Exclusive(e.t, "g")
	e.t.Cleanup(func() { e.check(sub.Close()) })
	source, ok := sub.(transport.Source)
	if !ok {
		e.t.Fatal("the subscriber is no transport.Source")
	}
	r, err := source.Receiver(topics...)
	e.check(err)
	e.t.Cleanup(func() { e.check(r.Close()) })
	return r
}

// number publishes messages numbered from and below to on a topic, one after the other.
func (e *env) number(topic string, from, to int) {
	e.t.Helper()
	for n := from; n < to; n++ {
		e.check(e.pub.Publish(topic, message.NewMessage(strconv.Itoa(n), nil)))
	}
}

// expect receives messages with the numbers from and below to, in order, and acks them.
func (e *env) expect(r transport.Receiver, from, to int) {
	e.t.Helper()
	for n := from; n < to; n++ {
		d := e.receive(r, 1)[0]
		if d.Message.UUID != strconv.Itoa(n) {
			e.t.Fatalf("received message %s, want %d", d.Message.UUID, n)
		}
		e.settle(r, d.Ack())
	}
}

func exclusiveTopicHasOneReceiver(t *testing.T, e *env) {
	a := e.exclusive(e.topic)
	e.number(e.topic, 0, 1)
	e.expect(a, 0, 1)
	b := e.exclusive(e.topic)
	e.number(e.topic, 1, 50)
	e.nothing(b, e.Lease)
	e.expect(a, 1, 50)
	e.check(a.Close())
	e.number(e.topic, 50, 60)
	e.expect(b, 50, 60)
}

// Both what the first one held and what it never saw come in order, before what is new.
func exclusiveReceiverThatClosesLeavesItsMessagesInOrder(t *testing.T, e *env) {
	first := e.exclusive(e.topic)
	e.number(e.topic, 0, 30)
	held := e.receive(first, 10)
	e.settle(first, held[0].Ack(), held[2].Ack())
	held[3].Attempt = 4 // It was tried in its place, as in an ordered lane.
	heir := e.exclusive(e.topic)
	e.check(first.Close())
	e.number(e.topic, 30, 40)
	for n := range 40 {
		if n == 0 || n == 2 {
			continue
		}
		d := e.receive(heir, 1)[0]
		attempt := 1
		if n == 3 {
			attempt = 4
		}
		if d.Message.UUID != strconv.Itoa(n) || d.Attempt != attempt {
			t.Fatalf("received message %s, attempt %d, want %d, attempt %d", d.Message.UUID, d.Attempt, n, attempt)
		}
		e.settle(heir, d.Ack())
	}
	e.nothing(heir, 50*time.Millisecond)
}

func exclusiveReceiverThatCrashesLeavesItsMessagesInOrder(t *testing.T, e *env) {
	if e.Crash == nil {
		t.Skip("the harness cannot crash a receiver")
	}
	crashed := e.exclusive(e.topic)
	e.number(e.topic, 0, 30)
	held := e.receive(crashed, 10)
	e.settle(crashed, held[1].Ack())
	heir := e.exclusive(e.topic)
	e.Crash(t, crashed)
	e.number(e.topic, 30, 40)
	for n := range 40 {
		if n == 1 {
			continue
		}
		d := e.receive(heir, 1)[0]
		if d.Message.UUID != strconv.Itoa(n) || n < 10 && d.Attempt != 2 || n >= 30 && d.Attempt != 1 {
			t.Fatalf("received message %s, attempt %d, want %d", d.Message.UUID, d.Attempt, n)
		}
		e.settle(heir, d.Ack())
	}
	// Too late: this changes nothing.
	e.settle(crashed, held[0].Retry(0, errBroken), held[2].DeadLetter(errBroken), held[3].Release())
	e.nothing(heir, 100*time.Millisecond)
}

func exclusiveTopicIsHandedOverWhenWhatIsHeldIsSettled(t *testing.T, e *env) {
	topics := []string{e.topic + "-a", e.topic + "-b"}
	first := e.exclusive(topics...)
	held := map[string]*transport.Delivery{}
	for _, topic := range topics {
		e.number(topic, 0, 1)
	}
	for _, d := range e.receive(first, 2) {
		held[d.Topic] = d
	}
	second := e.exclusive(topics...)
	e.nothing(second, e.Lease/2) // It takes nothing that is not given.
	for _, topic := range topics {
		e.number(topic, 1, 3)
		if err := held[topic].Message.Context().Err(); err != nil {
			t.Errorf("the context of what is handled has ended: %v", err)
		}
		e.settle(first, held[topic].Ack())
	}
	got := map[string][]string{}
	for _, r := range []transport.Receiver{second, first} {
		topic := ""
		for range 2 {
			d := e.receive(r, 1)[0]
			if topic != "" && d.Topic != topic {
				t.Errorf("one receiver has both topics")
			}
			topic = d.Topic
			got[topic] = append(got[topic], d.Message.UUID)
			e.settle(r, d.Ack())
		}
	}
	for _, topic := range topics {
		if !slices.Equal(got[topic], []string{"1", "2"}) {
			t.Errorf("of %s came %v", topic, got[topic])
		}
	}
}

// Receivers come and go while messages flow.
func exclusiveReceiversShareTopicsEvenlyAndInOrder(t *testing.T, e *env) {
	const topics, receivers = 6, 3
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprint(e.topic, "-", i)
	}
	var mu sync.Mutex
	last, owner := map[string]int{}, map[string]int{}
	ctx, cancel := context.WithCancel(e.context())
	defer cancel()
	var receiving sync.WaitGroup
	consume := func(id int) {
		r := e.exclusive(names...)
		receiving.Go(func() {
			for {
				page, err := r.Receive(ctx, 5)
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				for _, d := range page {
					n, _ := strconv.Atoi(d.Message.UUID)
					if n != last[d.Topic]+1 {
						t.Errorf("message %d of %s comes after %d", n, d.Topic, last[d.Topic])
					}
					last[d.Topic], owner[d.Topic] = n, id
				}
				mu.Unlock()
				if err := r.Settle(context.WithoutCancel(ctx), acks(page)...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	even := func(among int) bool {
		mu.Lock()
		defer mu.Unlock()
		count := map[int]int{}
		for _, id := range owner {
			count[id]++
		}
		for _, n := range count {
			if n != topics/among {
				return false
			}
		}
		return len(count) == among && len(owner) == topics
	}
	n := 0
	for among := 1; among <= receivers; among++ {
		consume(among)
		for !even(among) {
			n++
			for _, topic := range names {
				e.number(topic, n, n+1)
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("with %d receivers the topics are shared as %v", among, owner)
			}
		}
	}
	all := func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, topic := range names {
			if last[topic] != n {
				return false
			}
		}
		return true
	}
	for !all() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("published %d, received %v", n, last)
		}
	}
	cancel()
	receiving.Wait()
}
