package batching

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
)

// publishAndWait is Publish in Wait mode. The errors that errs has, if any, are
// those of messages that cannot be published.
func (p *Publisher) publishAndWait(topic string, msgs []*message.Message, keys []queueKey, errs []error) error {
	if errs == nil {
		if q := p.begin(topic, msgs, keys); q != nil {
			return p.publishAlone(q, msgs)
		}
	}
	c := p.newCall(len(msgs))
	p.addAll(c, msgs, keys, errs)
	p.await(c, msgs)
	err := c.err(topic, msgs)
	p.release(c)
	return err
}

func (p *Publisher) addAll(c *call, msgs []*message.Message, keys []queueKey, errs []error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, msg := range msgs {
		r := &c.results[i]
		var err error
		switch ctx := msg.Context(); {
		case errs != nil && errs[i] != nil:
			err = errs[i]
		case ctx.Err() != nil:
			err = notPublished(context.Cause(ctx))
		default:
			err = p.add(keys[i], item{msg: msg, result: r})
		}
		if err != nil {
			r.set(err)
		}
	}
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
				return
			case <-ctx.Done():
				p.withdraw(c, c.results, context.Cause(ctx))
			}
			break
		}
		some := c.results[from:to]
		stop := context.AfterFunc(ctx, func() { p.withdraw(c, some, context.Cause(ctx)) })
		defer func() {
			if !stop() { // It runs, or will.
				p.mu.Lock()
				defer p.mu.Unlock()
				c.given = true
			}
		}()
		from = to
	}
	<-c.finished
}

// withdraw takes messages whose context has ended out of their queues. Those
// that are part of a batch already are not waited for.
func (p *Publisher) withdraw(c *call, some []result, cause error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range some {
		if r := &some[i]; r.queue != nil {
			r.queue.withdraw(r, cause)
		} else if !r.has {
			c.given = true
			r.set(fmt.Errorf("batching: under way, may be published all the same: %w", cause))
		}
	}
	p.notify()
}
