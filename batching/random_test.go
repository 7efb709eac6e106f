package batching_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
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
	var taken []events.FailedMessage // Failed ones are taken away, or no room would be left.
	closed, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-closed:
				return
			case <-time.After(10 * time.Millisecond):
				taken = append(taken, p.TakeFailed()...)
			}
		}
	}()
	const n = 300
	for i := range n {
		mu.Lock()
		typ := fmt.Sprint("type", rnd.IntN(4))
		mu.Unlock()
		check(t, p.Publish("t", msg(fmt.Sprint(i), typ)))
	}
	check(t, p.Close())
	close(closed)
	<-done
	total := len(p.FailedMessages()) + len(taken)
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

// Among retries, callers that give up and a Shutdown with a limit, each message
// is published, listed as failed, or its caller is told that it has failed.
func TestNoMessageIsLostWithoutAWord(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range uint64(100) {
		for _, mode := range []batching.Mode{batching.Wait, batching.Buffered} {
			synctest.Test(t, func(t *testing.T) { noMessageIsLost(t, mode, rand.New(rand.NewPCG(seed, round))) })
		}
	}
}

func noMessageIsLost(t *testing.T, mode batching.Mode, source *rand.Rand) {
	var mu sync.Mutex // guards source, published and refused
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return source.IntN(n)
	}
	published, refused := map[string]int{}, map[string]error{}
	out := &target{fail: func(_ string, msgs []*message.Message) error {
		<-time.After(time.Duration(draw(20)) * time.Millisecond)
		switch draw(8) {
		case 0:
			return errDown
		case 1:
			runtime.Goexit()
		}
		mu.Lock()
		defer mu.Unlock()
		for _, m := range msgs {
			published[m.UUID]++
		}
		return nil
	}}
	p := newPublisher(t, out, batching.Config{
		Mode: mode, MaxSize: 1 + draw(5), MaxWait: time.Duration(draw(10)) * time.Millisecond,
		MaxConcurrentBatches: 1 + draw(3), MaxBuffered: 5 + draw(30),
	})
	limit := func(d int) (context.Context, context.CancelFunc) {
		return context.WithTimeout(t.Context(), time.Duration(1+draw(d))*time.Millisecond)
	}
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for i := range 10 {
				m := msg(fmt.Sprint(caller, "-", i), fmt.Sprint("type", draw(3)))
				ctx, cancel := limit(60)
				m.SetContext(ctx)
				err := p.Publish("t", m)
				cancel()
				mu.Lock()
				refused[m.UUID] = err
				mu.Unlock()
			}
		})
	}
	callers.Go(func() {
		for range 20 {
			ctx, cancel := limit(30)
			_ = p.RetryFailed(ctx)
			cancel()
			<-time.After(5 * time.Millisecond)
		}
	})
	callers.Go(func() {
		<-time.After(time.Duration(draw(200)) * time.Millisecond)
		ctx, cancel := limit(50)
		defer cancel()
		_ = p.Shutdown(ctx)
		listed := map[string]bool{}
		for _, f := range p.FailedMessages() {
			listed[f.Message.UUID] = true
		}
		mu.Lock()
		defer mu.Unlock()
		for id, err := range refused {
			if err == nil && published[id] == 0 && !listed[id] {
				t.Errorf("%s is neither published nor listed at the end of Shutdown", id)
			}
		}
	})
	callers.Wait()
	check(t, p.Close())
	failed := p.FailedMessages()
	for _, f := range failed {
		if published[f.Message.UUID] == 0 && refused[f.Message.UUID] == nil {
			published[f.Message.UUID]++
		}
	}
	for id, err := range refused {
		if err == nil && published[id] == 0 {
			t.Errorf("%s is lost", id)
		}
		if err != nil && strings.Contains(err.Error(), "not published") && published[id] > 0 {
			t.Errorf("%s is published, its caller was told: %v", id, err)
		}
	}
	if stats := p.MemoryStats(); stats != (batching.MemoryStats{Failed: len(failed), FailedBytes: 10 * len(failed)}) {
		t.Errorf("held after Close: %+v", stats)
	}
}
