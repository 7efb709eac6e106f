package redis

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// ending is a context that has ended and says so only when it is asked.
type ending struct {
	context.Context
	ended atomic.Bool
}

func (c *ending) Err() error {
	if c.ended.Load() {
		return context.Canceled
	}
	return nil
}

// One signal wakes one Receive. If that ends with its context just then, another
// one must be woken in its place.
func TestAReceiveThatEndsHandsOnWhatHasWokenIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{ctx: context.Background(), arrived: make(chan struct{}, 1), taken: make(chan struct{}, 1)}
		ctx := &ending{Context: context.Background()}
		received := make(chan error)
		go func() {
			_, err := r.Receive(ctx, 1)
			received <- err
		}()
		synctest.Wait()
		ctx.ended.Store(true)
		r.mu.Lock()
		r.queue = append(r.queue, &entry{record: &record{}, state: ready})
		r.mu.Unlock()
		signal(r.arrived)
		if err := <-received; !errors.Is(err, context.Canceled) {
			t.Errorf("receive: %v", err)
		}
		if len(r.arrived) != 1 {
			t.Error("an entry waits, and nobody is woken for it")
		}
	})
}
