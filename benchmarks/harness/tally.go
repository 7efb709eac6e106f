package harness

import (
	"fmt"
	"sync"
	"time"
)

// tally is the guard: it counts which messages were handled, and knows when
// all of them were.
type tally struct {
	mu         sync.Mutex
	seen       []uint64 // a bit a message
	from, want int      // messages from..from+want-1 are waited for
	unique     int
	duplicates int
	wrong      error
	first      time.Time
	last       time.Time
	done       chan struct{} // closed when all were handled, or something is wrong
}

func newTally(from, want int) *tally {
	t := &tally{seen: make([]uint64, (want+63)/64), from: from, want: want, done: make(chan struct{})}
	if want == 0 {
		close(t.done)
	}
	return t
}

// add counts one handled message, at the end of its handler.
func (t *tally) add(body []byte) {
	n, err := number(body)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	n -= t.from
	if err == nil && (n < 0 || n >= t.want) {
		err = fmt.Errorf("message %d was handled, which is not among those sent", n+t.from)
	}
	if err != nil {
		if t.wrong == nil {
			t.wrong = err
			t.finish()
		}
		return
	}
	if t.first.IsZero() {
		t.first = now
	}
	if t.seen[n/64]&(1<<(n%64)) != 0 {
		t.duplicates++
		return
	}
	t.seen[n/64] |= 1 << (n % 64)
	t.unique++
	t.last = now
	if t.unique == t.want {
		t.finish()
	}
}

// expect lowers how many messages are waited for, once that is known.
func (t *tally) expect(want int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.want = want
	if t.unique >= want {
		t.finish()
	}
}

func (t *tally) finish() {
	select {
	case <-t.done:
	default:
		close(t.done)
	}
}

// wait waits until all messages are handled; progress resets its patience.
func (t *tally) wait(done <-chan struct{}, patience time.Duration) error {
	tick := time.NewTicker(patience)
	defer tick.Stop()
	before := -1
	for {
		select {
		case <-t.done:
			t.mu.Lock()
			defer t.mu.Unlock()
			return t.wrong
		case <-done:
			return errInterrupted
		case <-tick.C:
			t.mu.Lock()
			unique := t.unique
			t.mu.Unlock()
			if unique == before {
				return &LostError{Published: t.want, Delivered: unique, Waited: patience}
			}
			before = unique
		}
	}
}

func (t *tally) span() (first, last time.Time, duplicates int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first, t.last, t.duplicates
}

// LostError says that a contestant did not deliver all that was published.
type LostError struct {
	Published, Delivered int
	Waited               time.Duration // without any progress
}

func (e *LostError) Error() string {
	return fmt.Sprintf("%d of %d messages were not delivered, and none came for %v: the contestant loses messages, or is stuck", e.Published-e.Delivered, e.Published, e.Waited)
}
