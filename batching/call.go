package batching

import (
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// call is one Publish call in Wait mode. It is guarded by the publisher's lock
// until it has finished; then nothing changes any more.
type call struct {
	finished chan struct{} // gets one token when every message has its result
	results  []result
	open     int
	given    bool      // up while a batch had a message of it, which still refers to it
	single   [1]result // Most calls have one message.
}

// result is what becomes of one message of a call.
type result struct {
	call   *call
	queue  *queue // that has the message, until a batch takes it
	number uint64 // of the item
	has    bool
	err    error
}

// newCall returns a call for so many messages, one at least.
func (p *Publisher) newCall(n int) *call {
	c, _ := p.calls.Get().(*call)
	if c == nil {
		c = &call{finished: make(chan struct{}, 1)}
	}
	c.open = n
	if n == 1 {
		c.results = c.single[:]
	} else {
		c.results = make([]result, n)
	}
	for i := range c.results {
		c.results[i].call = c
	}
	return c
}

// release lets a call that has finished be used again.
func (p *Publisher) release(c *call) {
	if c.given {
		return
	}
	c.results, c.single = nil, [1]result{}
	p.calls.Put(c)
}

// set records the result; the first one counts.
func (r *result) set(err error) {
	if r.has {
		return
	}
	r.has, r.err = true, err
	if r.call.open--; r.call.open == 0 {
		r.call.finished <- struct{}{}
	}
}

// err returns what Publish returns, after the call has finished.
func (c *call) err(topic string, msgs []*message.Message) error {
	var failed []events.FailedMessage
	for i := range c.results {
		if err := c.results[i].err; err != nil {
			failed = append(failed, events.FailedMessage{Topic: topic, Message: msgs[i], Err: err})
		}
	}
	if failed == nil {
		return nil
	}
	return &events.PublishError{Topic: topic, Total: len(msgs), Failed: failed}
}
