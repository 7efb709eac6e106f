package batching_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is a publisher that keeps calls and can fail, hang or panic.
type target struct {
	mu    sync.Mutex
	calls [][]string // ids of each call
	fail  func(topic string, msgs []*message.Message) error
}

func (p *target) Publish(topic string, msgs ...*message.Message) error {
	var ids []string
	for _, m := range msgs {
		ids = append(ids, m.UUID)
	}
	p.mu.Lock()
	p.calls = append(p.calls, ids)
	fail := p.fail
	p.mu.Unlock()
	if fail != nil {
		return fail(topic, msgs)
	}
	return nil
}

func (p *target) Close() error { return errors.New("batching must not close what it did not open") }

func (p *target) got() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

func msg(id, eventType string) *message.Message {
	m := message.NewMessage(id, []byte("1234567890"))
	m.Metadata[events.MetadataType] = eventType
	return m
}

func newPublisher(t testing.TB, next message.Publisher, cfg batching.Config) *batching.Publisher {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	p, err := batching.NewPublisher(next, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, out *target, want ...[]string) {
	t.Helper()
	if got := out.got(); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("published in calls %v, want %v", got, want)
	}
}

func TestABatchGoesOutWhenItIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cfg := range []batching.Config{{Mode: batching.Buffered, MaxSize: 2}, {Mode: batching.Buffered, MaxBytes: 20}} {
			out := &target{}
			p := newPublisher(t, out, cfg)
			check(t, p.Publish("t", msg("1", "a"), msg("2", "a"), msg("3", "a")))
			synctest.Wait()
			expect(t, out, []string{"1", "2"})
			check(t, p.Close())
			expect(t, out, []string{"1", "2"}, []string{"3"})
		}
	})
}

func TestABatchGoesOutMaxWaitAfterItsFirstMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered})
		check(t, p.Publish("t", msg("1", "a")))
		<-time.After(900 * time.Millisecond)
		check(t, p.Publish("t", msg("2", "a")))
		<-time.After(99 * time.Millisecond)
		synctest.Wait()
		expect(t, out)
		<-time.After(time.Millisecond)
		synctest.Wait()
		expect(t, out, []string{"1", "2"})
		if stats := p.MemoryStats(); stats != (batching.MemoryStats{}) {
			t.Errorf("something is held after all went out: %+v", stats)
		}
		check(t, p.Close())
	})
}

func TestStrategiesAndTopicsMakeBatches(t *testing.T) {
	for name, tt := range map[string]struct {
		strategy func(string, *message.Message) string
		batches  int
	}{
		"default":        {nil, 4},
		"exact type":     {batching.ExactType, 4},
		"first segment":  {batching.FirstSegments(1), 3},
		"two segments":   {batching.FirstSegments(2), 4},
		"many segments":  {batching.FirstSegments(9), 4},
		"one each topic": {batching.ByTopic, 2},
	} {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, Strategy: tt.strategy})
		for i, typ := range []string{"user.created", "user.deleted", "user.created", "order.created"} {
			check(t, p.Publish("t", msg(fmt.Sprint(i), typ)))
		}
		check(t, p.Publish("other", msg("4", "user.created")))
		check(t, p.Flush(t.Context()))
		if got := len(out.got()); got != tt.batches {
			t.Errorf("%s: %d batches, want %d", name, got, tt.batches)
		}
		check(t, p.Close())
	}
}

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

func TestBatchesBeyondTheLimitWaitAndNoneIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
		out.fail = func(string, []*message.Message) error { <-time.After(time.Second); return nil }
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxSize: 1, MaxConcurrentBatches: 2})
		for i := range 6 {
			check(t, p.Publish("t", msg(fmt.Sprint(i), fmt.Sprint("type", i))))
		}
		for round := 1; round <= 3; round++ {
			synctest.Wait()
			if got := len(out.got()); got != 2*round || p.MemoryStats().ActiveBatches != 2 {
				t.Errorf("second %d: %d batches begun, %+v", round, got, p.MemoryStats())
			}
			<-time.After(time.Second)
		}
		check(t, p.Close())
	})
}

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

func TestAFullBufferWaitsOrRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{}
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
		check(t, p.Publish("t", msg("3", "a"))) // There is room after MaxWait.
		check(t, p.Close())
		expect(t, out, []string{"1", "2"}, []string{"3"})

		p = newPublisher(t, out, batching.Config{Mode: batching.Buffered, MaxBuffered: 1, Full: batching.ErrorWhenFull})
		check(t, p.Publish("t", msg("1", "a")))
		if err := p.Publish("t", msg("2", "a")); !errors.Is(err, batching.ErrBufferFull) {
			t.Errorf("error %v", err)
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
		if failed := p.FailedMessages(); len(failed) != 1 || failed[0].Message.UUID != "waits" {
			t.Errorf("failed: %+v", failed)
		}
		close(hang)
	})
}

// Whatever the publisher beneath does, what was accepted is what was delivered
// and what is listed as failed, and each type stays in order.
func TestAcceptedIsDeliveredPlusFailed(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range uint64(50) {
		synctest.Test(t, func(t *testing.T) { acceptedIsDeliveredPlusFailed(t, rand.New(rand.NewPCG(seed, round))) })
	}
}

func acceptedIsDeliveredPlusFailed(t *testing.T, rnd *rand.Rand) {
	var mu sync.Mutex // guards rnd and delivered
	delivered := map[string][]int{}
	out := &target{}
	out.fail = func(_ string, msgs []*message.Message) error {
		mu.Lock()
		defer mu.Unlock()
		draw, wait := rnd.IntN(10), time.Duration(rnd.IntN(50))*time.Millisecond
		mu.Unlock()
		<-time.After(wait)
		mu.Lock()
		switch draw {
		case 0:
			return errors.New("all failed")
		case 1:
			panic("broken")
		}
		failed := &events.PublishError{Total: len(msgs)}
		for _, m := range msgs {
			if rnd.IntN(10) == 0 {
				failed.Failed = append(failed.Failed, events.FailedMessage{Message: m, Err: errors.New("this one failed")})
				continue
			}
			var n int
			_, err := fmt.Sscan(m.UUID, &n)
			check(t, err)
			typ := m.Metadata[events.MetadataType]
			delivered[typ] = append(delivered[typ], n)
		}
		if len(failed.Failed) > 0 {
			return failed
		}
		return nil
	}
	p := newPublisher(t, out, batching.Config{
		Mode: batching.Buffered, MaxSize: 1 + rnd.IntN(10), MaxWait: time.Duration(1+rnd.IntN(30)) * time.Millisecond,
		MaxConcurrentBatches: 1 + rnd.IntN(3), MaxBuffered: 5 + rnd.IntN(50),
	})
	const n = 300
	for i := range n {
		mu.Lock()
		typ := fmt.Sprint("type", rnd.IntN(4))
		mu.Unlock()
		check(t, p.Publish("t", msg(fmt.Sprint(i), typ)))
	}
	check(t, p.Close())
	total := len(p.FailedMessages())
	for typ, ids := range delivered {
		if !slices.IsSorted(ids) {
			t.Errorf("%s out of order: %v", typ, ids)
		}
		total += len(ids)
	}
	if total != n || p.MemoryStats().Messages != 0 {
		t.Errorf("%d delivered or failed, of %d; %+v", total, n, p.MemoryStats())
	}
}

func BenchmarkBuffered(b *testing.B) {
	p := newPublisher(b, &target{}, batching.Config{Mode: batching.Buffered})
	m := msg("1", "a")
	b.ReportAllocs()
	for b.Loop() {
		check(b, p.Publish("t", m))
	}
	check(b, p.Close())
}
