package batching_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
)

func TestCloseForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered})
		check(t, p.Publish("t", msg("1", "a"), msg("2", "b")))
		var closers sync.WaitGroup
		for range 3 {
			closers.Go(func() { check(t, p.Close()) })
		}
		closers.Wait()
		if got := len(out.got()); got != 2 {
			t.Errorf("%d batches, want 2", got)
		}
		if err := p.Publish("t", msg("3", "a")); !errors.Is(err, events.ErrClosed) {
			t.Errorf("publish after Close: %v", err)
		}

		hang := make(chan struct{})
		out = &target{fail: func(string, []*message.Message) error { <-hang; return nil }}
		p = newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxSize: 1, MaxConcurrentBatches: 1})
		check(t, p.Publish("t", msg("hangs", "a"), msg("waits", "a")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if failed := p.FailedMessages(); len(failed) != 2 || failed[0].Message.UUID != "hangs" || failed[1].Message.UUID != "waits" {
			t.Errorf("failed: %+v", failed)
		}
		close(hang)
	})
}

func TestWhatIsUnderWayAtTheEndOfShutdownIsListedUntilItsResultIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		result := make(chan error)
		out := &target{fail: func(string, []*message.Message) error { return <-result }}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxSize: 1, MaxConcurrentBatches: 2})
		check(t, p.Publish("t", msg("1", "a"), msg("2", "b"), msg("3", "a")))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		for _, f := range p.FailedMessages() {
			if maybe := strings.Contains(f.Err.Error(), "may have been published"); maybe != (f.Message.UUID != "3") {
				t.Errorf("%s: %v", f.Message.UUID, f.Err)
			}
		}
		if stats := p.MemoryStats(); stats.Failed != 3 || stats.Messages != 0 || stats.ActiveBatches != 2 {
			t.Errorf("held %+v, want all as failed", stats)
		}
		result <- nil
		result <- errDown
		check(t, p.Shutdown(t.Context()))
		failed := p.FailedMessages()
		if len(failed) != 2 || !slices.ContainsFunc(failed, func(f events.FailedMessage) bool { return errors.Is(f.Err, errDown) }) {
			t.Errorf("listed %+v, want 3 and the one that failed", failed)
		}
		for _, call := range out.got() {
			if call[0] == "3" {
				t.Error("published after it was said that it was not")
			}
		}
	})
}

func TestShutdownEndsARetryAfterItsBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func([]*message.Message) error { <-time.After(time.Minute); return nil }
		p, out := failing(t, batching.Config{MaxSize: 1}, slow, "1", "2")
		go func() { _ = p.RetryFailed(context.Background()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if failed := p.FailedMessages(); len(failed) != 2 || !strings.Contains(failed[0].Err.Error(), "may have been published") || !errors.Is(failed[1].Err, errDown) {
			t.Errorf("listed %+v", failed)
		}
		check(t, p.Close())
		if failed := p.FailedMessages(); len(failed) != 1 || failed[0].Message.UUID != "2" || len(out.got()) != 3 {
			t.Errorf("listed %+v after calls %v", failed, out.got())
		}
	})
}

func TestFlushWaitsForWhatCameBeforeAndOnlyForThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := make(chan struct{})
		out := &target{fail: func(string, []*message.Message) error { <-next; return nil }}
		p := newPublisher(t, out, batching.Config{MaxSize: 1})
		publish := func(ctx context.Context, id string) {
			m := msg(id, "a")
			m.SetContext(ctx)
			go func() { _ = p.Publish("t", m) }()
			synctest.Wait()
		}
		publish(t.Context(), "1")
		publish(t.Context(), "2")
		flushed := make(chan struct{})
		go func() { check(t, p.Flush(t.Context())); close(flushed) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		publish(ctx, "3")
		publish(t.Context(), "4")
		cancel() // "3" leaves by another way than "2".
		next <- struct{}{}
		synctest.Wait()
		select {
		case <-flushed:
			t.Error("Flush returned before its last message was published")
		default:
		}
		next <- struct{}{}
		<-flushed
		close(next)
		check(t, p.Close())
		expect(t, out, []string{"1"}, []string{"2"}, []string{"4"})
	})
}
