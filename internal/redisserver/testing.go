package redisserver

import (
	"context"
	"time"
)

// TB is what New needs of a *testing.T, *testing.B or *testing.F, so that this
// package does not link package testing.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
}

// New starts a server that ends with the test. Where redis-server is missing the
// test fails and says what to install.
func New(tb TB, args ...string) *Server {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s, err := Start(ctx, args...)
	if err != nil {
		tb.Fatalf("start redis-server: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("stop redis-server: %v", err)
		}
	})
	return s
}
