package batching

import "sync"

// call is one Publish call in Wait mode.
type call struct {
	finished chan struct{} // closed when every message has its result

	mu   sync.Mutex
	errs []error
	has  []bool
	open int
}

func newCall(n int) *call {
	c := &call{finished: make(chan struct{}), errs: make([]error, n), has: make([]bool, n), open: n}
	if n == 0 {
		close(c.finished)
	}
	return c
}

// done records a message's result; the first one counts.
func (c *call) done(i int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record(i, err)
}

func (c *call) record(i int, err error) {
	if c.has[i] {
		return
	}
	c.has[i], c.errs[i] = true, err
	if c.open--; c.open == 0 {
		close(c.finished)
	}
}

// abandon gives every message without a result err for one.
func (c *call) abandon(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.has {
		c.record(i, err)
	}
}

func (c *call) results() []error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.errs
}
