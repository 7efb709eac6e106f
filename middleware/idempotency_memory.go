package middleware

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/logistically/events"
)

// ErrStoreFull says that a memory store holds nothing but claims.
var ErrStoreFull = errors.New("idempotency store is full of events in progress")

// MemoryIdempotencyConfig configures [NewMemoryIdempotencyStore].
type MemoryIdempotencyConfig struct {
	// MaxKeys is how many events are remembered; the oldest that are done make
	// room. Zero means 100 000.
	MaxKeys int
}

// MemoryIdempotencyStore is an IdempotencyStore for one process. It forgets with
// its process.
type MemoryIdempotencyStore struct {
	max int

	mu   sync.Mutex
	keys map[string]*list.Element // of *mark
	ages *list.List               // oldest first
}

type mark struct {
	key     string
	token   string // of the claim, or "" if done
	expires time.Time
}

// NewMemoryIdempotencyStore returns an empty store, or a *events.ConfigError.
func NewMemoryIdempotencyStore(cfg MemoryIdempotencyConfig) (*MemoryIdempotencyStore, error) {
	if cfg.MaxKeys < 0 {
		return nil, &events.ConfigError{Field: "middleware.MemoryIdempotencyConfig.MaxKeys", Value: cfg.MaxKeys, Problem: "is negative", Remedy: "set a number of events, or 0 for 100 000"}
	}
	if cfg.MaxKeys == 0 {
		cfg.MaxKeys = 100_000
	}
	return &MemoryIdempotencyStore{max: cfg.MaxKeys, keys: map[string]*list.Element{}, ages: list.New()}, nil
}

// Begin implements IdempotencyStore.
func (s *MemoryIdempotencyStore) Begin(_ context.Context, key, token string, lease time.Duration) (started, done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.get(key); m != nil && m.token != token {
		return false, m.token == "", nil
	}
	return true, false, s.set(mark{key, token, time.Now().Add(lease)})
}

// Done implements IdempotencyStore.
func (s *MemoryIdempotencyStore) Done(_ context.Context, key, token string, keep time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.get(key); m != nil && m.token != token && m.token != "" {
		return fmt.Errorf("mark %q as done: another consumer holds the claim: the lease was shorter than the handler took", key)
	}
	return s.set(mark{key, "", time.Now().Add(keep)})
}

// Abort implements IdempotencyStore.
func (s *MemoryIdempotencyStore) Abort(_ context.Context, key, token string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.get(key); m != nil && m.token == token {
		s.remove(s.keys[key])
	}
	return nil
}

// get returns the mark of a key if it has not expired.
func (s *MemoryIdempotencyStore) get(key string) *mark {
	element := s.keys[key]
	if element == nil {
		return nil
	}
	m := element.Value.(*mark)
	if !m.expires.After(time.Now()) {
		s.remove(element)
		return nil
	}
	return m
}

func (s *MemoryIdempotencyStore) set(m mark) error {
	if element := s.keys[m.key]; element != nil {
		s.remove(element)
	} else if len(s.keys) >= s.max && !s.evict() {
		return fmt.Errorf("%w: %d of them: raise MaxKeys", ErrStoreFull, s.max)
	}
	s.keys[m.key] = s.ages.PushBack(&m)
	return nil
}

// evict removes the oldest mark that is done or expired.
func (s *MemoryIdempotencyStore) evict() bool {
	for element := s.ages.Front(); element != nil; element = element.Next() {
		if m := element.Value.(*mark); m.token == "" || !m.expires.After(time.Now()) {
			s.remove(element)
			return true
		}
	}
	return false
}

func (s *MemoryIdempotencyStore) remove(element *list.Element) {
	s.ages.Remove(element)
	delete(s.keys, element.Value.(*mark).key)
}
