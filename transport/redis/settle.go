package redis

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
)

// task is one script call and the outcomes it settles.
type task struct {
	script   *goredis.Script
	keys     []string
	args     []any
	outcomes []transport.Outcome
}

// Settle implements transport.Receiver: all acks of a stream are one script
// call, each other outcome is one, and all calls share a round trip. A call that
// is repeated after a lost connection changes nothing if it was done.
func (r *receiver) Settle(ctx context.Context, outcomes ...transport.Outcome) error {
	tasks, failed := r.tasks(outcomes)
	for attempt := 0; len(tasks) > 0; attempt++ {
		tasks = r.run(ctx, tasks, failed)
		if len(tasks) == 0 {
			break
		}
		wait := min(20*time.Millisecond<<min(attempt, 6), time.Second)
		timer := time.NewTimer(wait/2 + rand.N(wait))
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
			timer.Stop()
		}
		for _, t := range tasks {
			failed.add(t, context.Cause(ctx))
		}
		break
	}
	if len(failed.Unsettled) == 0 {
		return nil
	}
	return &failed.SettleError
}

type failures struct{ transport.SettleError }

func (f *failures) add(t task, err error) {
	for _, o := range t.outcomes {
		f.Unsettled = append(f.Unsettled, transport.UnsettledOutcome{Outcome: o, Err: err})
	}
}

// tasks makes script calls of outcomes, and ends this receiver's hold on the
// deliveries: whatever becomes of the calls, nobody renews the leases now.
func (r *receiver) tasks(outcomes []transport.Outcome) ([]task, *failures) {
	failed := &failures{}
	acks := map[*stream]*task{}
	var tasks []task
	retried := false
	for _, o := range outcomes {
		e := r.forget(o.Delivery)
		if e == nil {
			continue // Lost, or settled before.
		}
		e.cancel(nil)
		if o.Settlement == transport.Ack {
			t := acks[e.stream]
			if t == nil {
				t = &task{script: ackScript, keys: []string{e.stream.key}, args: []any{r.cfg.Group, r.consumer, e.stream.deleteFlag()}}
				acks[e.stream] = t
			}
			t.args = append(t.args, e.id)
			t.outcomes = append(t.outcomes, o)
			continue
		}
		t, err := r.task(e, o)
		if err != nil {
			failed.add(task{outcomes: []transport.Outcome{o}}, err)
			continue
		}
		retried = retried || o.Settlement == transport.Retry
		tasks = append(tasks, t)
	}
	for _, t := range acks {
		tasks = append(tasks, *t)
	}
	if retried {
		defer signal(r.delayed)
	}
	return tasks, failed
}

func (r *receiver) task(e *entry, o transport.Outcome) (task, error) {
	s, d := e.stream, o.Delivery
	t := task{outcomes: []transport.Outcome{o}}
	switch o.Settlement {
	case transport.Retry:
		packed, err := msgpack.Marshal(e.again(d, d.Attempt+1))
		if err != nil {
			return t, err
		}
		t.script = retryScript
		t.keys = []string{s.key, s.delayKey(), s.delayedKey()}
		t.args = []any{r.cfg.Group, r.consumer, e.id, o.After.Milliseconds(), e.id + "@" + strconv.FormatBool(s.retry), packed, s.deleteFlag()}
	case transport.DeadLetter:
		msg := d.Message.Copy()
		maps.Copy(msg.Metadata, o.Metadata)
		values, err := Encode(msg)
		if err != nil {
			return t, err
		}
		t.script = moveScript
		t.keys = []string{s.key, r.cfg.KeyPrefix + r.cfg.DeadLetterTopic(s.topic)}
		t.args = append([]any{r.cfg.Group, r.consumer, e.id, s.deleteFlag()}, values...)
	default: // Release: to the group's retry stream, where anyone sees it at once.
		t.script = moveScript
		t.keys = []string{s.key, s.retryKey()}
		t.args = []any{r.cfg.Group, r.consumer, e.id, s.deleteFlag()}
		for _, v := range e.again(d, d.Attempt) {
			t.args = append(t.args, v)
		}
	}
	return t, nil
}

// again returns the entry's fields and values for its next delivery.
func (e *entry) again(d *transport.Delivery, attempt int) []string {
	fields := []string{
		fieldAttempt, strconv.Itoa(attempt), fieldOrigin, e.origin, fieldStored, strconv.FormatInt(d.Stored.UnixMilli(), 10),
	}
	for field, value := range e.values {
		switch field {
		case fieldAttempt, fieldOrigin, fieldStored:
		default:
			text, _ := value.(string)
			fields = append(fields, field, text)
		}
	}
	return fields
}

// run calls all tasks in one round trip and returns those to be tried again.
func (r *receiver) run(ctx context.Context, tasks []task, failed *failures) (again []task) {
	pipe := r.cfg.Client.Pipeline()
	cmds := make([]*goredis.Cmd, len(tasks))
	for i, t := range tasks {
		cmds[i] = pipe.EvalSha(ctx, t.script.Hash(), t.keys, t.args...)
	}
	_, execErr := pipe.Exec(ctx)
	missing := map[*goredis.Script]bool{}
	for i, cmd := range cmds {
		err := cmd.Err()
		if err == nil && cmd.Val() == nil { // not even sent; see Publisher.Publish
			err = cmp.Or(execErr, errNoReply)
		}
		switch {
		case err == nil:
		case hasPrefix(err, "NOSCRIPT"):
			missing[tasks[i].script] = true
			again = append(again, tasks[i])
		case passing(err):
			again = append(again, tasks[i])
		case hasPrefix(err, "NOGROUP"):
			// The group is gone, and with it what was pending: nothing to settle.
		default:
			failed.add(tasks[i], explain(err, tasks[i].keys[len(tasks[i].keys)-1]))
		}
	}
	for script := range missing {
		if err := script.Load(ctx, r.cfg.Client).Err(); err != nil {
			r.cfg.Logger.Warn("redis: script not loaded", "error", explain(err, ""))
		}
	}
	if len(missing) > 0 && len(again) > 0 {
		return r.run(ctx, again, failed)
	}
	return again
}

// bury moves an entry that is no message to the dead letters, as it is.
func (r *receiver) bury(e *entry, d *transport.Delivery, cause error) {
	args := []any{r.cfg.Group, r.consumer, e.id, e.stream.deleteFlag()}
	for field, value := range e.values {
		args = append(args, field, value)
	}
	for key, value := range transport.FailureMetadata(d, cause) {
		args = append(args, key, value)
	}
	target := r.cfg.KeyPrefix + r.cfg.DeadLetterTopic(e.stream.topic)
	err := moveScript.Run(r.ctx, r.cfg.Client, []string{e.stream.key, target}, args...).Err()
	if err != nil {
		r.cfg.Logger.Error("redis: undecodable entry stays pending", "stream", e.stream.key, "id", e.id, "cause", cause, "error", explain(err, target))
		return
	}
	r.cfg.Logger.Warn("redis: undecodable entry moved to the dead letters", "stream", e.stream.key, "id", e.id, "target", target, "cause", cause)
}
