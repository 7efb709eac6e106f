package middleware

import (
	"container/heap"
	"container/list"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/logistically/events/transport"
)

// DefaultMaxKeys is how many keys a [MemoryIdempotencyStore] holds by default.
const DefaultMaxKeys = 100_000

// MemoryIdempotencyConfig configures [NewMemoryIdempotencyStore].
type MemoryIdempotencyConfig struct {
	// MaxKeys limits how many events are remembered, claims and marks together.
	// Over it what has expired is forgotten, or else the oldest mark, and a
	// duplicate of that event runs its handler again. Zero means DefaultMaxKeys, 100 000,
	// some 30 MB, and what handlers have returned (IdempotencyConfig.MaxProduced).
	MaxKeys int
}

// MemoryIdempotencyStore is an [IdempotencyStore] of one process: for tests,
// and for services of a single instance that may forget when they restart.
// Memory is bounded; a claim that has not expired is never forgotten. It is safe
// for concurrent use and has no goroutine.
type MemoryIdempotencyStore struct {
	max int

	mu    sync.Mutex
	keys  map[string]*memoryEntry // marks and claims
	ends  expiries                // all of them
	marks *list.List              // of *memoryEntry, in the order in which they were set
}

// memoryEntry is a mark, or a claim.
type memoryEntry struct {
	claim    transport.Claim
	produced []byte        // of a mark
	mark     *list.Element // of a mark
	expires  time.Time
	index    int // in expiries
}

var (
	_ IdempotencyStore          = (*MemoryIdempotencyStore)(nil)
	_ transport.LocalClaimStore = (*MemoryIdempotencyStore)(nil)
)

// NewMemoryIdempotencyStore returns an empty store, or a *events.ConfigError.
func NewMemoryIdempotencyStore(cfg MemoryIdempotencyConfig) (*MemoryIdempotencyStore, error) {
	if cfg.MaxKeys < 0 {
		return nil, configError("MemoryIdempotencyConfig.MaxKeys", cfg.MaxKeys, "is negative", "set it to a number of keys, or to 0 for 100 000")
	}
	if cfg.MaxKeys == 0 {
		cfg.MaxKeys = DefaultMaxKeys
	}
	return &MemoryIdempotencyStore{max: cfg.MaxKeys, keys: make(map[string]*memoryEntry), marks: list.New()}, nil
}

// Begin implements [IdempotencyStore]. It fails with [ErrStoreFull] when there
// is nothing to forget.
func (s *MemoryIdempotencyStore) Begin(ctx context.Context, claims ...transport.Claim) ([]transport.ClaimResult, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	results := make([]transport.ClaimResult, len(claims))
	for i, c := range claims {
		e := s.find(c.Key, now)
		if results[i] = e.answer(c); results[i].State != transport.ClaimStarted {
			continue
		}
		if err := s.put(&memoryEntry{claim: c, expires: now.Add(c.Lease)}, now); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// answer says what becomes of a claim where this entry, or nil, is what there is.
func (e *memoryEntry) answer(c transport.Claim) transport.ClaimResult {
	switch {
	case e == nil, e.mark == nil && e.claim.Token == c.Token:
		return transport.ClaimResult{State: transport.ClaimStarted}
	case e.claim.Fingerprint != c.Fingerprint && e.claim.Fingerprint != "" && c.Fingerprint != "":
		return transport.ClaimResult{State: transport.ClaimMismatch}
	case e.mark != nil:
		return transport.ClaimResult{State: transport.ClaimMarked, Produced: slices.Clone(e.produced)}
	case c.Holder != "" && c.Holder == e.claim.Holder && c.Attempt >= e.claim.Attempt:
		return transport.ClaimResult{State: transport.ClaimStarted}
	}
	return transport.ClaimResult{State: transport.ClaimBusy}
}

// Done implements [IdempotencyStore].
func (s *MemoryIdempotencyStore) Done(ctx context.Context, c transport.Claim, produced []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if e := s.find(c.Key, now); e != nil {
		switch ours := e.claim.Token == c.Token; {
		case ours && e.mark != nil:
			return nil
		case e.mark != nil:
			return fmt.Errorf("%w: %q", transport.ErrClaimDone, c.Key)
		case !ours:
			return fmt.Errorf("%w: %q", ErrClaimLost, c.Key)
		}
	}
	e := &memoryEntry{claim: c, produced: slices.Clone(produced), expires: now.Add(c.Keep)}
	if err := s.put(e, now); err != nil {
		return err
	}
	e.mark = s.marks.PushBack(e)
	return nil
}

// Abort implements [IdempotencyStore].
func (s *MemoryIdempotencyStore) Abort(ctx context.Context, c transport.Claim) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(c.Key, time.Now()); e != nil && e.mark == nil && e.claim.Token == c.Token {
		s.remove(e)
	}
	return nil
}

// Local implements transport.LocalClaimStore: with the memory transport, claims
// are concluded in the step that settles.
func (s *MemoryIdempotencyStore) Local() {}

// Len returns how many keys are held, those included that have expired and
// were not yet forgotten.
func (s *MemoryIdempotencyStore) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.keys)
}

// find returns the entry of a key unless it has expired.
func (s *MemoryIdempotencyStore) find(key string, now time.Time) *memoryEntry {
	e := s.keys[key]
	if e != nil && e.expired(now) {
		s.remove(e)
		return nil
	}
	return e
}

// put stores an entry in place of the one that its key has.
func (s *MemoryIdempotencyStore) put(e *memoryEntry, now time.Time) error {
	if former := s.keys[e.claim.Key]; former != nil {
		s.remove(former)
	} else if err := s.room(now); err != nil {
		return err
	}
	s.keys[e.claim.Key] = e
	heap.Push(&s.ends, e)
	return nil
}

// room makes room for one entry. It forgets two that have expired a call, so
// that the store shrinks again without anybody sweeping it, and a mark that is
// still good only if there are none.
func (s *MemoryIdempotencyStore) room(now time.Time) error {
	for range 2 {
		if len(s.ends) > 0 && s.ends[0].expired(now) {
			s.remove(s.ends[0])
		}
	}
	if len(s.keys) < s.max {
		return nil
	}
	oldest := s.marks.Front()
	if oldest == nil {
		return ErrStoreFull
	}
	s.remove(oldest.Value.(*memoryEntry)) // Done stores no other type.
	return nil
}

func (s *MemoryIdempotencyStore) remove(e *memoryEntry) {
	delete(s.keys, e.claim.Key)
	heap.Remove(&s.ends, e.index)
	if e.mark != nil {
		s.marks.Remove(e.mark)
	}
}

func (e *memoryEntry) expired(now time.Time) bool { return !now.Before(e.expires) }

// expiries is a heap: its first entry is the next to expire.
type expiries []*memoryEntry

func (h expiries) Len() int           { return len(h) }
func (h expiries) Less(i, j int) bool { return h[i].expires.Before(h[j].expires) }

func (h expiries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *expiries) Push(x any) {
	e := x.(*memoryEntry) // put pushes no other type.
	e.index = len(*h)
	*h = append(*h, e)
}

func (h *expiries) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return e
}
