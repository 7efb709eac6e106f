package batching

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

// publishAndWait is Publish in Wait mode.
func (p *Publisher) publishAndWait(topic string, msgs []*message.Message) error {
	c := newCall(len(msgs))
	for i, msg := range msgs {
		r := &c.results[i]
		err := p.addUnlessEnded(topic, item{msg: msg, result: r})
		if err != nil {
			p.mu.Lock()
			r.set(err)
			p.mu.Unlock()
		}
	}
	p.await(c, msgs)
	return c.err(topic, msgs)
}

func (p *Publisher) addUnlessEnded(topic string, it item) error {
	if ctx := it.msg.Context(); ctx.Err() != nil {
		return notPublished(context.Cause(ctx))
	}
	return p.add(topic, it)
}

// await waits until each message has its result, which is the end of its
// context if that comes first.
func (p *Publisher) await(c *call, msgs []*message.Message) {
	for from := 0; from < len(msgs); {
		ctx, to := msgs[from].Context(), from+1
		for to < len(msgs) && msgs[to].Context().Done() == ctx.Done() {
			to++
		}
		if from == 0 && to == len(msgs) { // All end together, as is usual: nothing to start for it.
			select {
			case <-c.finished:
			case <-ctx.Done():
				p.withdraw(c.results, context.Cause(ctx))
			}
			break
		}
		some := c.results[from:to]
		stop := context.AfterFunc(ctx, func() { p.withdraw(some, context.Cause(ctx)) })
		defer stop()
		from = to
	}
	<-c.finished
}

// withdraw takes messages whose context has ended out of their queues. Those
// that are part of a batch already are not waited for.
func (p *Publisher) withdraw(some []result, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range some {
		if r := &some[i]; r.queue != nil {
			r.queue.withdraw(r, cause)
		} else if !r.has {
			r.set(fmt.Errorf("batching: under way, may be published all the same: %w", cause))
		}
	}
	p.notify()
}
