package batching_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
)

// goroutine returns the name of the goroutine that calls it.
func goroutine() string {
	var b [32]byte
	runtime.Stack(b[:], false)
	var n int
	_, _ = fmt.Sscanf(string(b[:]), "goroutine %d ", &n) // It has no other form.
	return fmt.Sprint(n)
}

func TestALoneCallIsPublishedAsItIsByItsOwnGoroutine(t *testing.T) {
	type key struct{}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	defer cancel()
	for _, ids := range [][]string{{"1"}, {"1", "2", "3"}} {
		var msgs []*message.Message
		for _, id := range ids {
			m := msg(id, "a")
			m.SetContext(ctx)
			msgs = append(msgs, m)
		}
		var by string
		var got []*message.Message
		p := newPublisher(t, &target{fail: func(_ string, msgs []*message.Message) error { by, got = goroutine(), msgs; return nil }}, batching.Config{})
		check(t, p.Publish("t", msgs...))
		if by != goroutine() || len(got) != len(msgs) {
			t.Errorf("published %d messages by goroutine %s, called by %s", len(got), by, goroutine())
		}
		for i, m := range got {
			if m != msgs[i] || m.Context() != ctx {
				t.Errorf("message %d is another, or has another context", i)
			}
		}
		check(t, p.Close())
	}
}

// It is a batch like any other: in statistics, for Flush and Close, and for those
// who come meanwhile.
func TestALoneCallCountsAsABatchUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		out := &target{fail: func(string, []*message.Message) error { <-release; return nil }}
		p := newPublisher(t, out, batching.Config{Strategy: batching.ByTopic})
		var callers sync.WaitGroup
		for _, id := range []string{"1", "2", "3"} {
			callers.Go(func() { check(t, p.Publish("t", msg(id, "a"))) })
			synctest.Wait()
		}
		if stats := p.MemoryStats(); stats != (batching.MemoryStats{Queues: 1, Messages: 3, Bytes: 30, ActiveBatches: 1}) {
			t.Errorf("held %+v", stats)
		}
		flushed, closed := make(chan error, 1), make(chan error, 1)
		go func() { flushed <- p.Flush(t.Context()) }()
		synctest.Wait()
		go func() { closed <- p.Close() }()
		synctest.Wait()
		if len(flushed)+len(closed) > 0 {
			t.Error("Flush or Close has not waited")
		}
		close(release)
		callers.Wait()
		check(t, <-flushed)
		check(t, <-closed)
		expect(t, out, []string{"1"}, []string{"2", "3"})
		if stats := p.MemoryStats(); stats != (batching.MemoryStats{}) {
			t.Errorf("held after Close: %+v", stats)
		}
	})
}

func TestALoneCallIsToldWhichOfItsMessagesFailed(t *testing.T) {
	bad := errors.New("bad")
	for name, tt := range map[string]struct {
		fail func(msgs []*message.Message) error
		want int
	}{
		"one": {func(m []*message.Message) error {
			return &events.PublishError{Failed: []events.FailedMessage{{Message: m[1], Err: bad}}}
		}, 1},
		"unclear": {func([]*message.Message) error { return bad }, 3},
		"panic":   {func([]*message.Message) error { panic(bad) }, 3},
	} {
		p := newPublisher(t, &target{fail: func(_ string, msgs []*message.Message) error { return tt.fail(msgs) }}, batching.Config{})
		failed, ok := errors.AsType[*events.PublishError](p.Publish("t", msg("1", "a"), msg("2", "a"), msg("3", "a")))
		if !ok || len(failed.Failed) != tt.want || failed.Topic != "t" || failed.Total != 3 || !errors.Is(failed, bad) {
			t.Errorf("%s: error %+v", name, failed)
		}
		if stats := p.MemoryStats(); stats != (batching.MemoryStats{}) {
			t.Errorf("%s: held %+v", name, stats)
		}
		check(t, p.Close())
	}
}

// Whether the publisher beneath returns or ends the caller's goroutine, those who
// wait behind it go on.
func TestALoneCallThatEndsItsGoroutineHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		out.fail = func(_ string, msgs []*message.Message) error {
			<-time.After(time.Second)
			if msgs[0].UUID == "1" {
				runtime.Goexit()
			}
			return nil
		}
		p := newPublisher(t, out, batching.Config{MaxConcurrentBatches: 1})
		go func() { _ = p.Publish("t", msg("1", "a")) }()
		synctest.Wait()
		check(t, p.Publish("t", msg("2", "a")))
		check(t, p.Close())
		expect(t, out, []string{"1"}, []string{"2"})
	})
}
