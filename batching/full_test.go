package batching_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
)

func TestAFullBufferWaitsOrRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(string, []*message.Message) error { <-time.After(time.Second); return nil }
		out := &target{fail: slow}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxBuffered: 2})
		check(t, p.Publish("t", msg("1", "a"), msg("2", "a")))
		late := msg("late", "a")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		late.SetContext(ctx)
		err := p.Publish("t", late)
		if failed, ok := errors.AsType[*events.PublishError](err); !ok || failed.Failed[0].Message != late || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		check(t, p.Publish("t", msg("3", "a"))) // There is room after the first batch.
		check(t, p.Close())
		expect(t, out, []string{"1", "2"}, []string{"3"})

		p = newPublisher(t, &target{fail: slow}, batching.Config{Mode: batching.Buffered, MaxBuffered: 1, Full: batching.ErrorWhenFull})
		check(t, p.Publish("t", msg("1", "a")))
		if err := p.Publish("t", msg("2", "a")); !errors.Is(err, batching.ErrBufferFull) {
			t.Errorf("error %v", err)
		}
		check(t, p.Close())
	})
}

func TestAFullBufferDoesNotWaitForBatchesToFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxBuffered: 4, MaxSize: 100, MaxWait: time.Hour})
		start := time.Now()
		for i := range 4 {
			check(t, p.Publish("t", msg(fmt.Sprint(i), fmt.Sprint("type", i%2))))
		}
		synctest.Wait()
		if got := len(out.got()); got != 2 {
			t.Errorf("%d batches went out when the buffer was full, want 2", got)
		}
		check(t, p.Publish("t", msg("4", "a")))
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited for room for %v", waited)
		}
		check(t, p.Close())
	})
}

func TestTheBufferIsBoundedByBytesToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{fail: func(string, []*message.Message) error { <-time.After(time.Second); return errDown }}
		cfg := batching.Config{Mode: batching.Buffered, MaxBytes: 20, MaxBufferedBytes: 30, MaxWait: time.Hour, Full: batching.ErrorWhenFull}
		p := newPublisher(t, out, cfg)
		for i := range 10 {
			if err := p.Publish("t", msg(fmt.Sprint(i), fmt.Sprint("type", i))); (err == nil) != (i < 3) || err != nil && !errors.Is(err, batching.ErrBufferFull) {
				t.Errorf("message %d: %v", i, err)
			}
		}
		<-time.After(time.Second) // It was full, so nothing waits for an hour.
		synctest.Wait()
		if stats := p.MemoryStats(); stats.FailedBytes != 30 || stats.Bytes != 0 {
			t.Errorf("held %+v, want all as failed", stats)
		}
		if err := p.Publish("t", msg("more", "a")); !errors.Is(err, batching.ErrBufferFull) {
			t.Errorf("there is room beside failed messages: %v", err)
		}
		out.fail = nil
		check(t, p.RetryFailed(t.Context()))
		check(t, p.Publish("t", msg("more", "a")))
		check(t, p.Close())

		cfg.Full = batching.WaitForRoom
		out.fail = func(string, []*message.Message) error { <-time.After(time.Second); return nil }
		p = newPublisher(t, out, cfg)
		start := time.Now()
		for i := range 6 {
			check(t, p.Publish("t", msg(fmt.Sprint(i), "a")))
		}
		if waited := time.Since(start); waited == 0 || waited > time.Minute {
			t.Errorf("waited for room for %v", waited)
		}
		check(t, p.Close())
	})
}

// Those who wait are woken for several places at a time, yet nobody waits for
// places that do not come.
func TestWhoWaitsForRoomGetsItWhateverBecomesFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		out := &target{fail: func(_ string, msgs []*message.Message) error {
			if msgs[0].Metadata[events.MetadataType] == "hangs" {
				<-hang
			}
			return nil
		}}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxBuffered: 100, MaxSize: 10})
		for i := range 99 {
			check(t, p.Publish("t", msg(fmt.Sprint(i), "hangs")))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for i := range 50 { // One place is enough for one after the other.
			m := msg(fmt.Sprint("free", i), "goes")
			m.SetContext(ctx)
			check(t, p.Publish("t", m))
		}
		close(hang)
		check(t, p.Close())
	})
}

func TestFailedMessagesTakeRoomUntilTheyAreRetriedOrTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := func(string, []*message.Message) error { return errors.New("down") }
		out := &target{fail: down}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxBuffered: 10, Full: batching.ErrorWhenFull})
		fill := func() {
			t.Helper()
			for i := range 100 {
				if err := p.Publish("t", msg(fmt.Sprint(i), "a")); (err == nil) != (i < 10) || err != nil && !errors.Is(err, batching.ErrBufferFull) {
					t.Errorf("message %d: %v", i, err)
				}
				synctest.Wait()
			}
			if stats := p.MemoryStats(); stats.Messages+stats.Failed != 10 {
				t.Errorf("held %+v, want 10", stats)
			}
			_ = p.Flush(t.Context())
			if err := p.Publish("t", msg("more", "a")); !errors.Is(err, batching.ErrBufferFull) {
				t.Errorf("there is room beside 10 failed messages: %v", err)
			}
		}
		fill()
		if taken := p.TakeFailed(); len(taken) != 10 || len(p.FailedMessages()) != 0 {
			t.Errorf("took %d of 10, %d are still listed", len(taken), len(p.FailedMessages()))
		}
		fill()
		out.fail = nil
		check(t, p.RetryFailed(t.Context()))
		check(t, p.Publish("t", msg("room", "a")))
		check(t, p.Close())
	})
}

func TestWhoWaitsForRoomGetsWhatARetryMakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{fail: func(string, []*message.Message) error { return errors.New("down") }}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxBuffered: 1})
		check(t, p.Publish("t", msg("1", "a")))
		<-time.After(2 * time.Second)
		done := make(chan error)
		go func() { done <- p.Publish("t", msg("2", "a")) }()
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("there was room: %v", err)
		default:
		}
		out.fail = nil
		check(t, p.RetryFailed(t.Context()))
		check(t, <-done)
		check(t, p.Close())
	})
}
