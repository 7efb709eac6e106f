package middleware

import (
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
	// Over it the oldest mark is forgotten, and a duplicate of that event runs
	// its handler again. Zero means DefaultMaxKeys, 100 000, some 20 MB.
	MaxKeys int
}

// MemoryIdempotencyStore is an [IdempotencyStore] of one process: for tests,
// and for services of a single instance that may forget when they restart.
// Memory is bounded; a claim that has not expired is never forgotten. It is safe
// for concurrent use and has no goroutine.
type MemoryIdempotencyStore struct {
	max int

	mu     sync.Mutex
	keys   map[string]*list.Element // of marks or claims; values are *memoryEntry
	marks  *list.List               // in the order in which they were set
	claims *list.List               // in the order in which they began
}

type memoryEntry struct {
	key     string
	token   string // of a claim
	mark    bool
	expires time.Time
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
	return &MemoryIdempotencyStore{max: cfg.MaxKeys, keys: make(map[string]*list.Element), marks: list.New(), claims: list.New()}, nil
}

// Begin implements [IdempotencyStore]. It fails with [ErrStoreFull] when there
// is no mark left to forget.
func (s *MemoryIdempotencyStore) Begin(ctx context.Context, key, token string, lease time.Duration) (started, done bool, err error) {
	if ctx.Err() != nil {
		return false, false, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if e := s.find(key, now); e != nil && (e.mark || e.token != token) {
		return false, e.mark, nil
	}
	if err := s.put(s.claims, memoryEntry{key: key, token: token, expires: now.Add(lease)}, now); err != nil {
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
	if e := s.find(key, now); e != nil && !e.mark && e.token != token {
		return fmt.Errorf("%w: %q", ErrClaimLost, key)
	}
	return s.put(s.marks, memoryEntry{key: key, mark: true, expires: now.Add(keep)}, now)
}

// Abort implements [IdempotencyStore].
func (s *MemoryIdempotencyStore) Abort(ctx context.Context, key, token string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(key, time.Now()); e != nil && !e.mark && e.token == token {
		s.remove(s.keys[key])
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
	el := s.keys[key]
	if el == nil {
		return nil
	}
	e := entryOf(el)
	if !now.Before(e.expires) {
		s.remove(el)
		return nil
	}
	return e
}

// put stores an entry in place of the one that its key has.
func (s *MemoryIdempotencyStore) put(in *list.List, e memoryEntry, now time.Time) error {
	if el := s.keys[e.key]; el != nil {
		s.remove(el)
	} else if err := s.room(now); err != nil {
		return err
	}
	s.keys[e.key] = in.PushBack(&e)
	return nil
}

// room makes room for one entry. It forgets two expired marks a call, so that
// the store shrinks again without anybody sweeping it.
func (s *MemoryIdempotencyStore) room(now time.Time) error {
	for range 2 {
		if el := s.marks.Front(); el != nil && !now.Before(entryOf(el).expires) {
			s.remove(el)
		}
	}
	if len(s.keys) < s.max {
		return nil
	}
	if el := s.marks.Front(); el != nil {
		s.remove(el)
		return nil
	}
	for el := s.claims.Front(); el != nil; el = el.Next() {
		if !now.Before(entryOf(el).expires) {
			s.remove(el)
			return nil
		}
	}
	return ErrStoreFull
}

func (s *MemoryIdempotencyStore) remove(el *list.Element) {
	e := entryOf(el)
	delete(s.keys, e.key)
	// Remove does nothing for the list that el is not of.
	s.marks.Remove(el)
	s.claims.Remove(el)
}

func entryOf(el *list.Element) *memoryEntry { return el.Value.(*memoryEntry) } // put stores no other type.
