package batching_test

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/batching"
)

func call(caller string, n int) []*message.Message {
	msgs := make([]*message.Message, n)
	for i := range msgs {
		msgs[i] = msg(caller+"-"+strconv.Itoa(i), "a")
	}
	return msgs
}

// Calls of 64 messages and more wait for no other of their batch name, up to
// MaxConcurrentBatches; smaller ones gather behind it. Flush and Close wait for all.
func TestLargeCallsInWaitModeRunBesideEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		out := &target{fail: func(string, []*message.Message) error { <-release; return nil }}
		p := newPublisher(t, out, batching.Config{MaxConcurrentBatches: 3})
		var callers sync.WaitGroup
		publish := func(caller string, n int) {
			callers.Go(func() { check(t, p.Publish("t", call(caller, n)...)) })
			synctest.Wait()
		}
		publish("first", 1)
		publish("small", 63)
		publish("large", 64)
		publish("larger", 100)
		publish("no slot", 64)
		if stats := p.MemoryStats(); stats != (batching.MemoryStats{Queues: 3, Messages: 292, Bytes: 2920, ActiveBatches: 3}) {
			t.Errorf("held %+v", stats)
		}
		ended := make(chan error, 2)
		go func() { ended <- p.Flush(t.Context()) }()
		synctest.Wait()
		go func() { ended <- p.Close() }()
		synctest.Wait()
		if len(ended) > 0 {
			t.Error("Flush or Close has not waited")
		}
		close(release)
		callers.Wait()
		check(t, <-ended)
		check(t, <-ended)
		sizes := map[string]int{}
		for _, ids := range out.calls {
			sizes[ids[0]] = len(ids)
		}
		for first, size := range map[string]int{"first-0": 1, "large-0": 64, "larger-0": 100, "small-0": 63 + 64} {
			if sizes[first] != size {
				t.Errorf("the batch of %s has %d messages, want %d: %v", first, sizes[first], size, sizes)
			}
		}
		if stats := p.MemoryStats(); stats != (batching.MemoryStats{}) {
			t.Errorf("held after Close: %+v", stats)
		}
	})
}
