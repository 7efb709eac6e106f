package batching_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
)

func TestFailuresAreKeptAndOnlyTheyAreRetried(t *testing.T) {
	down := errors.New("down")
	out := &target{fail: func(_ string, msgs []*message.Message) error {
		return &events.PublishError{Total: len(msgs), Failed: []events.FailedMessage{{Message: msgs[1], Err: down}}}
	}}
	p := newPublisher(t, out, batching.Config{Mode: batching.Buffered})
	check(t, p.Publish("t", msg("1", "a"), msg("2", "a"), msg("3", "a")))
	if err := p.Flush(t.Context()); !errors.Is(err, down) {
		t.Errorf("flush: %v", err)
	}
	failed := p.FailedMessages()
	if len(failed) != 1 || failed[0].Message.UUID != "2" || failed[0].Topic != "t" || p.MemoryStats().Failed != 1 {
		t.Fatalf("failed: %+v", failed)
	}
	out.fail = nil
	check(t, p.RetryFailed(t.Context()))
	expect(t, out, []string{"1", "2", "3"}, []string{"2"})
	if len(p.FailedMessages()) != 0 {
		t.Error("still listed as failed")
	}
	check(t, p.Close())
}

// failing returns a publisher with failed messages and what comes next: from
// then on, the publisher beneath does as then says.
func failing(t *testing.T, cfg batching.Config, then func(msgs []*message.Message) error, ids ...string) (*batching.Publisher, *target) {
	t.Helper()
	out := &target{fail: func(string, []*message.Message) error { return errDown }}
	cfg.Mode = batching.Buffered
	p := newPublisher(t, out, cfg)
	for _, id := range ids {
		check(t, p.Publish("t", msg(id, "a")))
	}
	if err := p.Flush(t.Context()); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	out.fail = func(_ string, msgs []*message.Message) error { return then(msgs) }
	return p, out
}

var errDown = errors.New("down")

func TestMessagesStayListedWhileTheyAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func([]*message.Message) error { <-time.After(time.Minute); return nil }
		p, _ := failing(t, batching.Config{MaxSize: 1}, slow, "1", "2")
		go func() { check(t, p.RetryFailed(context.Background())) }()
		for _, want := range []batching.MemoryStats{{Failed: 2, FailedBytes: 20, ActiveBatches: 1}, {Failed: 1, FailedBytes: 10, ActiveBatches: 1}, {}} {
			synctest.Wait()
			if got := p.MemoryStats(); got != want || len(p.FailedMessages()) != want.Failed {
				t.Errorf("got %+v and %d listed, want %+v", got, len(p.FailedMessages()), want)
			}
			<-time.After(time.Minute)
		}
		check(t, p.Close())
	})
}

func TestShutdownWaitsForARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		slow := func([]*message.Message) error { <-time.After(time.Minute); return nil }
		p, out := failing(t, batching.Config{MaxSize: 1}, slow, "1", "2")
		go func() { check(t, p.RetryFailed(context.Background())) }()
		synctest.Wait()
		check(t, p.Shutdown(t.Context()))
		if took := time.Since(start); took != 2*time.Minute || len(p.FailedMessages()) != 0 {
			t.Errorf("returned after %v, published %v", took, out.got())
		}
	})
}

func TestARetryEndsWithItsContext(t *testing.T) {
	untilEnd := func(msgs []*message.Message) error {
		<-msgs[0].Context().Done()
		return context.Cause(msgs[0].Context())
	}
	hang := make(chan struct{})
	deaf := func([]*message.Message) error { <-hang; return nil }
	tired := errors.New("tired")
	for name, then := range map[string]func([]*message.Message) error{"a publisher that listens": untilEnd, "a publisher that does not": deaf} {
		synctest.Test(t, func(t *testing.T) {
			hang = make(chan struct{})
			p, out := failing(t, batching.Config{MaxSize: 1}, then, "1", "2")
			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, tired)
			defer cancel()
			start := time.Now()
			err := p.RetryFailed(ctx)
			failed, ok := errors.AsType[*events.PublishError](err)
			if !ok || len(failed.Failed) != 2 || !errors.Is(failed.Failed[0].Err, tired) || !errors.Is(failed.Failed[1].Err, tired) || time.Since(start) != time.Second {
				t.Errorf("%s: after %v: %v", name, time.Since(start), err)
			}
			if got := len(p.FailedMessages()); got != 2 {
				t.Errorf("%s: %d listed, want 2", name, got)
			}
			close(hang)
			synctest.Wait()
			out.fail = nil
			check(t, p.RetryFailed(t.Context()))
			check(t, p.Close())
		})
	}
}

func TestRetriesComeOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func([]*message.Message) error { <-time.After(time.Minute); return nil }
		p, out := failing(t, batching.Config{}, slow, "1", "2")
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() { check(t, p.RetryFailed(t.Context())) })
		}
		callers.Wait()
		expect(t, out, []string{"1", "2"}, []string{"1", "2"})
		check(t, p.Close())
	})
}

func TestFailedMessagesCanBePublishedElsewhere(t *testing.T) {
	type key struct{}
	p := newPublisher(t, &target{fail: func(string, []*message.Message) error { return errDown }}, batching.Config{Mode: batching.Buffered})
	m := msg("1", "a")
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
	m.SetContext(ctx)
	check(t, p.Publish("t", m))
	cancel()
	check(t, p.Close())
	failed := p.FailedMessages()
	if len(failed) != 1 || failed[0].Message.Context().Err() != nil || failed[0].Message.Context().Value(key{}) != "value" {
		t.Errorf("failed %+v", failed)
	}
}

func TestTheLoggerMayAskThePublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *batching.Publisher
		logged := 0
		logger := slog.New(handler(func() { logged++; p.MemoryStats(); p.FailedMessages() }))
		p, err := batching.NewPublisher(&target{fail: func(string, []*message.Message) error { return errDown }}, batching.Config{Mode: batching.Buffered, Logger: logger})
		check(t, err)
		check(t, p.Publish("t", msg("1", "a")))
		check(t, p.Close())
		if logged != 1 {
			t.Errorf("logged %d times", logged)
		}
	})
}

// handler is a slog.Handler.
type handler func()

func (handler) Enabled(context.Context, slog.Level) bool    { return true }
func (h handler) Handle(context.Context, slog.Record) error { h(); return nil }
func (h handler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h handler) WithGroup(string) slog.Handler             { return h }
