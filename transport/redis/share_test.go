package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	goredis "github.com/redis/go-redis/v9"
)

// answering is a server of its own: each round trip waits for its answer.
type answering struct {
	mu      sync.Mutex
	trips   []int // how many commands each had
	answers chan error
}

func (a *answering) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (a *answering) ProcessHook(goredis.ProcessHook) goredis.ProcessHook {
	return func(_ context.Context, cmd goredis.Cmder) error { return a.answer(cmd) }
}

func (a *answering) ProcessPipelineHook(goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(_ context.Context, cmds []goredis.Cmder) error { return a.answer(cmds...) }
}

func (a *answering) answer(cmds ...goredis.Cmder) error {
	a.mu.Lock()
	a.trips = append(a.trips, len(cmds))
	a.mu.Unlock()
	err := <-a.answers
	for _, cmd := range cmds {
		// The second message of a group is refused where something is.
		if err != nil && (len(cmds) == 1 || cmd == cmds[1]) {
			cmd.SetErr(err)
			continue
		}
		cmd.(*goredis.StringCmd).SetVal("1-0")
	}
	return err
}

// newAnswering returns a publisher over it. publish begins a call, and errs gets its error.
func newAnswering(t *testing.T) (a *answering, publish func(n int), errs chan error) {
	t.Helper()
	a, errs = &answering{answers: make(chan error)}, make(chan error, 100)
	client := goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:1"})
	client.AddHook(a)
	p, err := NewPublisher(PublisherConfig{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return a, func(n int) {
		for i := range n {
			go func() { errs <- p.Publish("t", message.NewMessage(fmt.Sprint(i), nil)) }()
			synctest.Wait()
		}
	}, errs
}

func (a *answering) expect(t *testing.T, when string, trips ...int) {
	t.Helper()
	synctest.Wait()
	if !slices.Equal(a.trips, trips) {
		t.Errorf("%s: round trips with %v commands, want %v", when, a.trips, trips)
	}
}

func TestSingleMessagesThatWaitForARoundTripShareTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, publish, errs := newAnswering(t)
		publish(mostFlights + 10)
		a.expect(t, "few go out at once", 1, 1, 1)
		a.answers <- nil
		a.expect(t, "all others leave together", 1, 1, 1, 10)
		publish(1)
		a.expect(t, "no more are under way at a time", 1, 1, 1, 10)
		for range mostFlights {
			a.answers <- nil
			synctest.Wait()
		}
		a.expect(t, "one that waited alone goes alone", 1, 1, 1, 10, 1)
		a.answers <- nil
		for range mostFlights + 11 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		publish(mostFlights)
		a.expect(t, "all are free again", 1, 1, 1, 10, 1, 1, 1, 1)
		for range mostFlights {
			a.answers <- nil
		}
		synctest.Wait()
	})
}

func TestAMessageThatIsRefusedDoesNotFailThoseThatShareItsRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, publish, errs := newAnswering(t)
		publish(mostFlights + 5)
		for range mostFlights {
			a.answers <- nil
			synctest.Wait()
		}
		refused := errors.New("OOM")
		a.answers <- refused
		var failed []error
		for range mostFlights + 5 {
			if err := <-errs; err != nil {
				failed = append(failed, err)
			}
		}
		if len(failed) != 1 || !errors.Is(failed[0], refused) {
			t.Fatalf("failed: %v", failed)
		}
		if _, ok := errors.AsType[*events.PublishError](failed[0]); !ok {
			t.Errorf("error %#v", failed[0])
		}
	})
}
