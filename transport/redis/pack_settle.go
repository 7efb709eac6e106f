package redis

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/logistically/events/transport"
)

// What is settled of an entry of many messages is kept on the server as soon as it is
// some of them, and as long as it is not all: in the group's progress, a hash with a
// bit for each message. Only who has the lease may add to it, and the entry is acked
// in the step that adds the last one. Where one call of Settle acks all messages of an
// entry there is nothing to keep, and the entry is acked like any other.

// itemAcks gathers the acks of messages by their entries.
type itemAcks struct {
	all  []*bundleAcks
	last *bundleAcks // the acks of an entry come one after the other, most often
	of   map[*bundle]*bundleAcks
}

// bundleAcks are acks of messages of one entry.
type bundleAcks struct {
	first    *entry // one of them
	outcomes []transport.Outcome
	own      bool // see gather
	plain    bool // that the entry is ours is beyond doubt
}

// add adds an ack, one of the outcomes of a call.
func (a *itemAcks) add(ack []transport.Outcome, e *entry, plain bool) {
	b := a.last
	if b == nil || b.first.bundle != e.bundle {
		if b = a.of[e.bundle]; b == nil {
			b = &bundleAcks{first: e, plain: true}
			if a.of == nil {
				a.of = map[*bundle]*bundleAcks{}
			}
			a.of[e.bundle] = b
			a.all = append(a.all, b)
		}
		a.last = b
	}
	b.outcomes = gather(b.outcomes, &b.own, ack, e.bundle.messages)
	b.plain = b.plain && plain
}

// ackItems adds to tasks what acks messages of entries of many: XACK, together with
// acks of other entries, where these are all messages of an entry; elsewhere a script
// for all entries of a stream. most is how many outcomes the call has.
func (r *receiver) ackItems(items itemAcks, acks map[*stream]*task, tasks []*task, most int) []*task {
	parts := map[*stream]*task{}
	taskOf := func(tasksOf map[*stream]*task, s *stream, start func() *task) *task {
		t := tasksOf[s]
		if t == nil {
			t = start()
			tasksOf[s] = t
			tasks = append(tasks, t)
		}
		return t
	}
	for _, b := range items.all {
		e, s := b.first, b.first.stream
		var t *task
		if b.plain && len(b.outcomes) == e.bundle.messages {
			t = taskOf(acks, s, func() *task { return r.ack(s, true, len(items.all)) })
			t.args = append(t.args, &e.id)
		} else {
			t = taskOf(parts, s, func() *task {
				return &task{script: ackItemsScript, keys: []string{s.key, s.progressKey()}, args: []any{s.group, r.consumer}}
			})
			from, bits := bitsOf(b.outcomes)
			t.args = append(t.args, &e.id, e.bundle.messages, from, bits)
		}
		t.outcomes = gather(t.outcomes, &t.own, b.outcomes, most)
	}
	return tasks
}

// bitsOf has a bit for each message that outcomes are of, from a byte on.
func bitsOf(outcomes []transport.Outcome) (from int, bits []byte) {
	first, last := math.MaxInt, 0
	for _, o := range outcomes {
		item := int(entryOf(o).item)
		first, last = min(first, item), max(last, item)
	}
	from = first / 8
	bits = make([]byte, last/8-from+1)
	for _, o := range outcomes {
		item := int(entryOf(o).item)
		bits[item/8-from] |= 1 << (item % 8)
	}
	return from, bits
}

// hasBit reports whether progress has a message as settled.
func hasBit(progress string, item int) bool {
	return item/8 < len(progress) && progress[item/8]>>(item%8)&1 == 1
}

// readProgress asks for what was settled of entries that come from another consumer.
func (r *receiver) readProgress(s *stream, entries []rawEntry) error {
	var of []*rawEntry
	var ids []string
	for i := range entries {
		if c, err := contentOf(&entries[i].known); c != nil && err == nil {
			of, ids = append(of, &entries[i]), append(ids, entries[i].id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	values, err := r.cfg.Client.HMGet(r.ctx, s.progressKey(), ids...).Result()
	if err != nil {
		return err
	}
	for i, v := range values {
		of[i].progress, _ = v.(string)
	}
	return nil
}

// forget drops what a group of this name had settled before this one was made.
func (r *receiver) forget(ctx context.Context, s *stream) error {
	err := forgetScript.Run(ctx, r.cfg.Client, []string{s.progressKey()}).Err()
	if hasCode(err, "NOPERM") { // Most often there is none.
		r.cfg.Logger.Warn("redis: progress of an earlier group of this name is not looked for", "topic", s.topic, "group", s.group, "error", explain(err, s.progressKey()))
		return nil
	}
	return err
}

// ackSettled acks an entry of which everything was settled before.
func (r *receiver) ackSettled(e *entry) {
	keys := []string{e.stream.key, e.stream.progressKey()}
	err := ackItemsScript.Run(r.ctx, r.cfg.Client, keys, e.stream.group, r.consumer, e.id, e.bundle.messages, 0, "").Err()
	if err != nil && r.ctx.Err() == nil {
		r.cfg.Logger.Warn("redis: an entry that is settled stays pending", "stream", e.stream.key, "id", e.id, "error", explain(err, keys...))
	}
}

// finish tells the scripts what is settled with an outcome; see progress.lua.
func (e *entry) finish() string {
	if e.isItem() {
		return strconv.Itoa(int(e.item)) + "/" + strconv.Itoa(e.bundle.messages)
	}
	return e.stream.deleteFlag()
}

// member names an entry among delayed retries.
func (e *entry) member() string {
	of := e.id
	if e.isItem() {
		of += "#" + strconv.Itoa(int(e.item))
	}
	return of + "@" + strconv.FormatBool(e.stream.retry)
}

// original returns the fields of a message as it was read.
func (e *entry) original() (fields, error) {
	if !e.isItem() {
		return e.fields, nil
	}
	if b, ok := e.bundle.content.(*batch); ok {
		f, _ := b.item(int(e.item))
		return f, nil
	}
	msgs, err := e.bundle.originals()
	if err != nil || int(e.item) >= len(msgs) {
		return fields{}, fmt.Errorf("unpack message %d of entry %s again: %w", e.item, e.id, cmp.Or(err, errReply))
	}
	msg := msgs[e.item]
	f := fields{uuid: msg.UUID, payload: textOf(msg.Payload), hasUUID: true}
	if len(msg.Metadata) > 0 {
		f.metadata = textOf(appendMetadata(make([]byte, 0, metadataSize(msg.Metadata)), msg.Metadata))
	}
	return f, nil
}
