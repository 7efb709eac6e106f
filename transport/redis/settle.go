package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

// Settle implements transport.Receiver: all acks of a stream are one command,
// each other outcome is one script call, and all of them share a round trip. A
// call that is repeated after a lost connection changes nothing if it was done.
func (r *receiver) Settle(ctx context.Context, outcomes ...transport.Outcome) error {
	tasks, failed := r.tasks(outcomes)
	return r.settleAll(ctx, tasks, failed)
}

// settleAll runs tasks until all are done or ctx ends.
func (r *receiver) settleAll(ctx context.Context, tasks []*task, failed *failures) error {
	var waits *backoff.ExponentialBackOff // made at the first failure
	for len(tasks) > 0 {
		tasks = r.run(ctx, tasks, failed)
		if len(tasks) == 0 {
			break
		}
		if waits == nil {
			waits = newBackOff(20*time.Millisecond, time.Second)
		}
		timer := time.NewTimer(waits.NextBackOff())
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		for _, t := range tasks {
			failed.add(t, errors.Join(context.Cause(ctx), explain(t.err, t.keys[0])))
		}
		break
	}
	if len(failed.Unsettled) == 0 {
		return nil
	}
	return &failed.SettleError
}

// run sends all tasks in one round trip and returns those to be tried again. It
// returns when ctx ends, whatever the server does: the commands may be done then.
func (r *receiver) run(ctx context.Context, tasks []*task, failed *failures) (again []*task) {
	pipe := r.cfg.Client.Pipeline()
	cmds := make([]goredis.Cmder, len(tasks))
	for i, t := range tasks {
		cmds[i] = t.queue(ctx, pipe)
	}
	execErr := r.await(ctx, func() error {
		_, err := pipe.Exec(ctx)
		return err
	})
	if errors.Is(execErr, errWaitEnded) { // The commands are not ours to read.
		for _, t := range tasks {
			if t.marking != nil {
				again = append(again, r.looking(t, execErr, failed)...)
				continue
			}
			t.err = cmp.Or(t.err, execErr)
			again = append(again, t)
		}
		return again
	}
	for i, t := range tasks {
		if exec, ok := cmds[i].(*goredis.RawCmd); ok {
			if err := t.marking.failed(exec); err == nil {
				r.settled(t)
			} else {
				again = append(again, r.looking(t, err, failed)...)
			}
			continue
		}
		cmd, _ := cmds[i].(*goredis.Cmd)
		err := cmd.Err()
		if err == nil && cmd.Val() == nil { // not even sent; see Publisher.Publish
			err = cmp.Or(execErr, errNoReply)
		}
		switch {
		case err == nil && t.commits:
			r.committed(t, cmd.Val(), failed)
		case err == nil && t.missed(cmd.Val()):
			again = append(again, t)
		case err == nil:
			r.settled(t)
		case hasCode(err, "NOSCRIPT"):
			t.whole = true
			again = append(again, t)
		case passing(err):
			if t.err == nil || ctx.Err() == nil { // Or else it may be no more than the end of ctx.
				t.err = err
			}
			again = append(again, t)
		default:
			failed.add(t, explain(err, t.keys...))
		}
	}
	return again
}

// settled ends what is done with.
func (r *receiver) settled(t *task) {
	retried := false
	r.mu.Lock()
	for _, o := range t.outcomes {
		e := entryOf(o)
		e.state = done
		e.stream.count(-1)
		retried = retried || o.Settlement == transport.Retry
	}
	r.mu.Unlock()
	if retried {
		signal(r.delayed)
	}
}

var errWaitEnded = errors.New("the server has not answered")

// await runs fn and returns its error, or errWaitEnded when ctx ends before:
// go-redis keeps to a context only if its client is told so. fn then ends with the
// client's own time-outs, and the receiver's Close waits for it.
func (r *receiver) await(ctx context.Context, fn func() error) error {
	if ctx.Done() == nil || !r.addCall() {
		return fn()
	}
	return awaited(ctx, fn, r.calls.Done)
}

// awaited is await for who counts the calls by itself; ended is called when fn has ended.
func awaited(ctx context.Context, fn func() error, ended func()) error {
	result := make(chan error, 1)
	go func() {
		defer ended()
		result <- fn()
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		select {
		case err := <-result: // It was just in time.
			return err
		default:
			return fmt.Errorf("%w: %w", errWaitEnded, context.Cause(ctx))
		}
	}
}

// addCall adds to the calls that Close waits for, unless it has begun to wait.
func (r *receiver) addCall() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.calls.Add(1)
	return true
}

func (r *receiver) waitForCalls() {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.calls.Wait()
}

type failures struct {
	transport.SettleError
	receiver *receiver
}

// add lists a task's outcomes as not settled. Their leases run out.
func (f *failures) add(t *task, err error) {
	for _, o := range t.outcomes {
		f.Unsettled = append(f.Unsettled, transport.UnsettledOutcome{Outcome: o, Err: err})
		if e := entryOf(o); e != nil && e.receiver == f.receiver {
			f.receiver.mu.Lock()
			if e.state == settling {
				e.state = unsettled
				e.stream.count(-1)
			}
			f.receiver.mu.Unlock()
		}
	}
}

// bury moves an entry that is no message to the dead letters, as it is.
func (r *receiver) bury(e *entry, raw *rawEntry, cause error) {
	const most = 1000 // What a script can pass on to XADD is limited.
	args := r.whose(e)
	if raw.count <= most {
		args = append(args, raw.values()...)
	} else {
		args = append(args, fieldRaw, raw.all.text)
	}
	for key, value := range transport.FailureMetadata(&e.Delivery, cause) {
		args = append(args, key, value)
	}
	target := e.stream.dead
	err := moveScript.Run(r.ctx, r.cfg.Client, []string{e.stream.key, target, e.stream.progressKey()}, args...).Err()
	if err != nil {
		r.cfg.Logger.Error("redis: undecodable entry stays pending", "stream", e.stream.key, "id", e.id, "cause", cause, "error", explain(err, e.stream.key, target))
		return
	}
	r.incidents.undecodable.Add(1)
	r.cfg.Logger.Warn("redis: undecodable entry moved to the dead letters", "stream", e.stream.key, "id", e.id, "target", target, "cause", cause)
}
