package router

import (
	"context"
	"sync"
)

// What Run is at, as [HealthReport.State] says it.
const (
	lifeNew      = "new"      // Run was not called
	lifeStarting = "starting" // Run has not begun to receive
	lifeRunning  = "running"
	lifeDraining = "draining" // Run's context has ended, Run has not returned
	lifeStopped  = "stopped"  // Run has returned nil
	lifeFailed   = "failed"   // Run has returned an error
)

// life remembers what became of Run.
type life struct {
	mu    sync.Mutex
	ctx   context.Context // Run's; nil before
	ended bool
	err   error
}

// begin is called when Run is, and what it returns when Run returns. Calls of
// Run after the first change nothing.
func (l *life) begin(ctx context.Context) (end func(err *error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx != nil {
		return func(*error) {}
	}
	l.ctx = ctx
	return func(err *error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended, l.err = true, *err
	}
}

// state returns what Run is at, and the error that it has failed with.
func (l *life) state(running <-chan struct{}) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ctx == nil:
		return lifeNew, nil
	case l.ended && l.err != nil:
		return lifeFailed, l.err
	case l.ended:
		return lifeStopped, nil
	case l.ctx.Err() != nil:
		return lifeDraining, nil
	}
	select {
	case <-running:
		return lifeRunning, nil
	default:
		return lifeStarting, nil
	}
}
