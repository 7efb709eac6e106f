package batching_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/batching/spool"
	"pgregory.net/rapid"
)

// outcome is what the transport does with one call: it takes time, then all
// messages before one of them, and fails the others in some way.
type outcome struct {
	after time.Duration
	takes int // of ten; 10 is all
	how   string
}

// propertyRun is callers that publish over a transport that does as it is told.
type propertyRun struct {
	cfg      batching.Config
	spooled  bool
	outcomes []outcome
	messages int           // of each caller
	pause    time.Duration // between two of them
	retries  []time.Duration

	mu        sync.Mutex
	calls     int
	delivered map[string]int
	order     []string
	accepted  map[string]bool
	refused   map[string]error
	failed    map[string]bool // once, whatever became of it
}

const propertyCallers = 4

func drawRun(rt *rapid.T) *propertyRun {
	ms := func(most int, name string) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(rt, name)) * time.Millisecond
	}
	r := &propertyRun{
		cfg: batching.Config{
			Mode:                 rapid.SampledFrom([]batching.Mode{batching.Wait, batching.Buffered}).Draw(rt, "mode"),
			MaxSize:              rapid.IntRange(1, 8).Draw(rt, "max size"),
			MaxBytes:             rapid.IntRange(10, 60).Draw(rt, "max bytes"),
			MaxWait:              ms(10, "max wait"),
			MaxConcurrentBatches: rapid.IntRange(1, 3).Draw(rt, "max concurrent batches"),
			MaxBuffered:          rapid.IntRange(5, 60).Draw(rt, "max buffered"),
			MaxBufferedBytes:     rapid.IntRange(60, 400).Draw(rt, "max buffered bytes"),
			Full:                 rapid.SampledFrom([]batching.FullPolicy{batching.WaitForRoom, batching.ErrorWhenFull}).Draw(rt, "full"),
			Logger:               slog.New(slog.DiscardHandler),
		},
		spooled:   rapid.Bool().Draw(rt, "spool"),
		messages:  rapid.IntRange(1, 40).Draw(rt, "messages"),
		pause:     ms(5, "pause"),
		delivered: map[string]int{}, accepted: map[string]bool{}, refused: map[string]error{}, failed: map[string]bool{},
	}
	ways := []string{"lists", "panics", "fails"}
	if !r.spooled { // What ends its goroutine takes the spool's with it, and is kept as failed.
		ways = append(ways, "exits")
	}
	for range rapid.IntRange(0, 30).Draw(rt, "outcomes") {
		r.outcomes = append(r.outcomes, outcome{ms(30, "after"), rapid.IntRange(0, 10).Draw(rt, "takes"), rapid.SampledFrom(ways).Draw(rt, "how")})
	}
	for range rapid.IntRange(0, 5).Draw(rt, "retries") {
		r.retries = append(r.retries, ms(40, "retry"))
	}
	return r
}

// Publish is the transport.
func (r *propertyRun) Publish(_ string, msgs ...*message.Message) error {
	r.mu.Lock()
	o := outcome{takes: 10}
	if r.calls < len(r.outcomes) {
		o = r.outcomes[r.calls]
	}
	r.calls++
	r.mu.Unlock()
	<-time.After(o.after)
	r.mu.Lock()
	defer r.mu.Unlock()
	from := len(msgs) * o.takes / 10
	if o.takes < 10 && o.how != "lists" {
		from = 0 // It cannot say which ones it has taken.
	}
	for _, m := range msgs[:from] {
		r.delivered[m.UUID]++
		r.order = append(r.order, m.UUID)
	}
	failed := &events.PublishError{Total: len(msgs)}
	for _, m := range msgs[from:] {
		r.failed[m.UUID] = true
		failed.Failed = append(failed.Failed, events.FailedMessage{Message: m, Err: errDown})
	}
	switch {
	case len(failed.Failed) == 0:
		return nil
	case o.how == "panics":
		panic("broken")
	case o.how == "exits":
		runtime.Goexit()
	case o.how == "fails":
		return errDown
	}
	return failed
}

func (r *propertyRun) Close() error { return nil }

// call publishes one message on a goroutine of its own, which the transport may end.
func (r *propertyRun) call(p *batching.Publisher, caller, n int) {
	m := msg(fmt.Sprintf("%d %d", caller, n), fmt.Sprint("type", caller))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) // It may wait for room that failed ones have.
	defer cancel()
	m.SetContext(ctx)
	returned := make(chan error, 1)
	go func() {
		err := errors.New("the transport has ended the caller's goroutine")
		defer func() { returned <- err }()
		err = p.Publish("t", m)
	}()
	err := <-returned
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepted[m.UUID], r.refused[m.UUID] = err == nil, err
}

func (r *propertyRun) run(t *testing.T) (wrong error) {
	var next message.Publisher = r
	var spooled *spool.Publisher
	if r.spooled {
		spooled = mustSpool(t, r)
		next = spooled
	}
	p, err := batching.NewPublisher(next, r.cfg)
	check(t, err)
	var running sync.WaitGroup
	for caller := range propertyCallers {
		running.Go(func() {
			for n := range r.messages {
				r.call(p, caller, n)
				<-time.After(r.pause)
			}
		})
	}
	running.Go(func() {
		for _, after := range r.retries {
			<-time.After(after)
			_ = p.RetryFailed(context.Background()) // What fails again stays listed.
		}
	})
	running.Wait()
	check(t, p.Close())
	if err := r.accounted(p, spooled); err != nil {
		return err
	}
	r.mu.Lock()
	r.outcomes = nil
	r.mu.Unlock()
	check(t, p.RetryFailed(context.Background()))
	if spooled != nil {
		check(t, spooled.Flush(context.Background()))
		check(t, spooled.Close())
	}
	return errors.Join(r.accounted(p, nil), r.ordered())
}

func mustSpool(t *testing.T, next message.Publisher) *spool.Publisher {
	t.Helper()
	p, err := spool.NewPublisher(next, spool.Config{Dir: t.TempDir(), Sync: spool.SyncNever, MaxSize: 5, SegmentBytes: 500, Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	return p
}

// accounted compares what was accepted with where it is, by id, and by count where
// it is on disk.
func (r *propertyRun) accounted(p *batching.Publisher, spooled *spool.Publisher) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := map[string]bool{}
	for _, f := range p.FailedMessages() {
		kept[f.Message.UUID] = true
	}
	var wrong []error
	missing := 0
	for id, accepted := range r.accepted {
		switch n := r.delivered[id]; {
		case n > 1:
			wrong = append(wrong, fmt.Errorf("%s was delivered %d times", id, n))
		case n == 1 && kept[id]:
			wrong = append(wrong, fmt.Errorf("%s was delivered and is kept as failed", id))
		case n == 1 && !accepted && !r.spooled:
			wrong = append(wrong, fmt.Errorf("%s was delivered, its caller was told: %w", id, r.refused[id]))
		case n == 0 && !kept[id] && accepted:
			missing++
		}
	}
	onDisk := 0
	if spooled != nil {
		onDisk = spooled.Stats().Messages
	}
	if missing > onDisk {
		wrong = append(wrong, fmt.Errorf("%d accepted messages are neither delivered nor kept as failed, %d are on disk", missing, onDisk))
	}
	return errors.Join(wrong...)
}

// ordered checks each caller's messages: with a spool all of them, without one
// those that did not fail before.
func (r *propertyRun) ordered() error {
	latest := map[int]int{}
	for _, id := range r.order {
		var caller, n int
		if _, err := fmt.Sscan(id, &caller, &n); err != nil {
			return err
		}
		if !r.spooled && r.failed[id] {
			continue
		}
		if n < latest[caller] {
			return fmt.Errorf("%s was delivered after number %d", id, latest[caller])
		}
		latest[caller] = n
	}
	return nil
}

func TestWhateverTheTransportDoesAcceptedIsDeliveredOrKeptInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := drawRun(rt)
		var wrong error
		synctest.Test(t, func(t *testing.T) { wrong = r.run(t) })
		if wrong != nil {
			rt.Fatal(wrong)
		}
	})
}
