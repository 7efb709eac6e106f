package middleware

import (
	"container/heap"
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// DefaultMaxKeys is how many keys a [MemoryIdempotencyStore] holds by default.
const DefaultMaxKeys = 100_000

// MemoryIdempotencyConfig configures [NewMemoryIdempotencyStore].
type MemoryIdempotencyConfig struct {
	// MaxKeys limits how many events are remembered, claims and marks together.
	// Over it what has expired is forgotten, or else the oldest mark, and a
	// duplicate of that event runs its handler again. Zero means DefaultMaxKeys, 100 000, some 20 MB.
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
	key     string
	token   string        // of a claim
	mark    *list.Element // of a mark
	expires time.Time
	index   int // in expiries
}

var _ IdempotencyStore = (*MemoryIdempotencyStore)(nil)

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
func (s *MemoryIdempotencyStore) Begin(ctx context.Context, key, token string, lease time.Duration) (started, done bool, err error) {
	if ctx.Err() != nil {
		return false, false, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if e := s.find(key, now); e != nil && (e.mark != nil || e.token != token) {
		return false, e.mark != nil, nil
	}
	if err := s.put(&memoryEntry{key: key, token: token, expires: now.Add(lease)}, now); err != nil {
		return false, false, err
	}
	return true, false, nil
}

// Done implements [IdempotencyStore]. It fails with [ErrClaimLost] when
// another token holds the claim.
func (s *MemoryIdempotencyStore) Done(ctx context.Context, key, token string, keep time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if e := s.find(key, now); e != nil && e.mark == nil && e.token != token {
		return fmt.Errorf("%w: %q", ErrClaimLost, key)
	}
	e := &memoryEntry{key: key, expires: now.Add(keep)}
	if err := s.put(e, now); err != nil {
		return err
	}
	e.mark = s.marks.PushBack(e)
	return nil
}

// Abort implements [IdempotencyStore].
func (s *MemoryIdempotencyStore) Abort(ctx context.Context, key, token string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(key, time.Now()); e != nil && e.mark == nil && e.token == token {
		s.remove(e)
	}
	return nil
}

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
	if former := s.keys[e.key]; former != nil {
		s.remove(former)
	} else if err := s.room(now); err != nil {
		return err
	}
	s.keys[e.key] = e
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
	delete(s.keys, e.key)
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
