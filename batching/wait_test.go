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

func TestALoneMessageInWaitModeIsNotDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t, &target{}, batching.Config{})
		start := time.Now()
		check(t, p.Publish("t", msg("1", "a")))
		if took := time.Since(start); took != 0 {
			t.Errorf("took %v", took)
		}
		check(t, p.Close())
	})
}

func TestWaitingCallersShareABatchAndGetTheirOwnResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		bad := errors.New("refused")
		out.fail = func(_ string, msgs []*message.Message) error {
			<-time.After(time.Second)
			for _, m := range msgs {
				if m.UUID == "2" {
					return &events.PublishError{Total: len(msgs), Failed: []events.FailedMessage{{Message: m, Err: bad}}}
				}
			}
			return nil
		}
		p := newPublisher(t, out, batching.Config{Strategy: batching.ByTopic})
		errs := make([]error, 4)
		var callers sync.WaitGroup
		for i := range errs {
			callers.Go(func() { errs[i] = p.Publish("t", msg(fmt.Sprint(i), "a")) })
			synctest.Wait()
		}
		callers.Wait()
		expect(t, out, []string{"0"}, []string{"1", "2", "3"})
		for i, err := range errs {
			if failed := errors.Is(err, bad); failed != (i == 2) || (err != nil) != failed {
				t.Errorf("caller %d got %v", i, err)
			}
		}
		check(t, p.Close())
	})
}

func TestAWaitingCallerWhoseContextEndsIsToldAndNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		p := newPublisher(t, out, batching.Config{MaxWait: time.Minute})
		m := msg("1", "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		m.SetContext(ctx)
		if err := p.Publish("t", m); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		check(t, p.Close())
		expect(t, out)
	})
}

func TestEachMessageOfACallHasItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, which := range []string{"0", "1", "2"} {
			out := &target{}
			p := newPublisher(t, out, batching.Config{MaxWait: time.Minute})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var msgs []*message.Message
			var others []string
			for _, id := range []string{"0", "1", "2"} {
				m := msg(id, "a")
				if id == which {
					m.SetContext(ctx)
				} else {
					others = append(others, id)
				}
				msgs = append(msgs, m)
			}
			for range 2 { // The second time it has ended before.
				failed, ok := errors.AsType[*events.PublishError](p.Publish("t", msgs...))
				if !ok || len(failed.Failed) != 1 || failed.Failed[0].Message.UUID != which || !errors.Is(failed, context.DeadlineExceeded) {
					t.Errorf("context of %s ended: %v", which, failed)
				}
			}
			check(t, p.Close())
			expect(t, out, others, others)
		}
	})
}

// While a call waits for room for its last message, nobody looks at the
// contexts of the first ones.
func TestAMessageWhoseContextEndsDuringAnOtherOnesWaitIsNotPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(string, []*message.Message) error { <-time.After(time.Minute); return nil }
		out := &target{fail: slow}
		p := newPublisher(t, out, batching.Config{MaxBuffered: 2})
		var callers sync.WaitGroup
		callers.Go(func() { check(t, p.Publish("t", msg("1", "a"))) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ended := msg("2", "a")
		ended.SetContext(ctx)
		failed, ok := errors.AsType[*events.PublishError](p.Publish("t", ended, msg("3", "a")))
		if !ok || len(failed.Failed) != 1 || failed.Failed[0].Message != ended {
			t.Errorf("error %v", failed)
		}
		callers.Wait()
		check(t, p.Close())
		expect(t, out, []string{"1"}, []string{"3"})
	})
}

// Callers may leave from anywhere in a queue; the others keep their order.
func TestCallersThatGiveUpLeaveTheOthersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		out := &target{fail: func(string, []*message.Message) error { <-next; return nil }}
		p := newPublisher(t, out, batching.Config{MaxSize: 5})
		var want []string
		var cancels []context.CancelFunc
		var callers sync.WaitGroup
		for i := range 12 {
			m := msg(fmt.Sprint(i), "a")
			gives := i == 1 || i == 3 || i == 6 || i == 10 || i == 11
			if gives {
				ctx, cancel := context.WithCancel(t.Context())
				m.SetContext(ctx)
				cancels = append(cancels, cancel)
			} else if i > 0 {
				want = append(want, m.UUID)
			}
			callers.Go(func() {
				if err := p.Publish("t", m); errors.Is(err, context.Canceled) != gives {
					t.Errorf("%s: %v", m.UUID, err)
				}
			})
			synctest.Wait()
		}
		for _, cancel := range cancels {
			cancel()
			synctest.Wait()
		}
		if stats := p.MemoryStats(); stats.Messages != 7 || stats.Bytes != 70 {
			t.Errorf("held %+v, want 7 messages", stats)
		}
		close(next)
		callers.Wait()
		check(t, p.Close())
		expect(t, out, []string{"0"}, want[:5], want[5:])
	})
}

func TestAPublisherThatEndsItsGoroutineFailsItsBatchOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := func(string, []*message.Message) error { runtime.Goexit(); return nil }
		out := &target{fail: gone}
		p := newPublisher(t, out, batching.Config{MaxConcurrentBatches: 1, MaxSize: 1})
		if err := p.Publish("t", msg("1", "a"), msg("2", "a")); err == nil {
			t.Error("told that they were published")
		}
		out.fail = nil
		check(t, p.Publish("t", msg("3", "a")))
		check(t, p.Close())
		expect(t, out, []string{"1"}, []string{"2"}, []string{"3"})

		p, out = failing(t, batching.Config{MaxSize: 1}, func(msgs []*message.Message) error { return gone("t", msgs) }, "1", "2")
		if failed, ok := errors.AsType[*events.PublishError](p.RetryFailed(t.Context())); !ok || len(failed.Failed) != 2 {
			t.Errorf("error %v", failed)
		}
		expect(t, out, []string{"1"}, []string{"2"}, []string{"1"}, []string{"2"})
		check(t, p.Close())
	})
}
