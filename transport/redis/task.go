package redis

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
)

// task is one command and the outcomes that it settles.
type task struct {
	script   *goredis.Script // nil: the keys and arguments of XACK
	keys     []string
	args     []any
	outcomes []transport.Outcome
	own      bool   // see gather
	moves    *entry // by the script, whose first arguments are those of whose
	orphan   bool   // what the last try said of moves
	commits  bool   // by the script, each outcome by itself
	marking  *marking
	whole    bool  // send the script itself: the server does not know it
	err      error // of the last try
}

func (t *task) queue(ctx context.Context, pipe goredis.Pipeliner) goredis.Cmder {
	if t.moves != nil { // The group may have gone since the last try.
		t.orphan = t.moves.receiver.orphan(t.moves)
		t.args[orphanArg] = t.orphan
	}
	switch {
	case t.marking != nil:
		return t.marking.queue(ctx, pipe)
	case t.script == nil:
		return pipe.Do(ctx, t.args...)
	case t.whole:
		return t.script.Eval(ctx, pipe, t.keys, t.args...)
	}
	return t.script.EvalSha(ctx, pipe, t.keys, t.args...)
}

// entryOf returns the entry of an outcome, or nil if it is none of ours.
func entryOf(o transport.Outcome) *entry {
	if o.Delivery == nil {
		return nil
	}
	e, _ := o.Delivery.Receipt.(*entry)
	return e
}

var errForeign = errors.New("the outcome is of no delivery of this receiver")

// tasks makes commands of outcomes, and ends this receiver's hold on the
// deliveries: whatever becomes of the commands, nobody renews the leases now.
func (r *receiver) tasks(outcomes []transport.Outcome) ([]*task, *failures) {
	failed := &failures{receiver: r}
	acks := map[*stream]*task{}  // those whose lease is beyond doubt
	doubt := map[*stream]*task{} // those of which the server must see whether they are ours
	more := commits{}            // those that do more than ack
	sure := markings{}           // those of them that need no look
	var items itemAcks
	var tasks []*task
	now := time.Now()
	taken := r.takeAll(outcomes, now.Add(-r.cfg.Lease/2))
	for i, o := range outcomes {
		e := entryOf(o)
		if e == nil || e.receiver != r {
			failed.Unsettled = append(failed.Unsettled, transport.UnsettledOutcome{Outcome: o, Err: cmp.Or(o.Check(), errForeign)})
			continue
		}
		if taken[i].was == done {
			continue // Lost, or settled before.
		}
		e.context.end(settledContext)
		if err := o.Check(); err != nil {
			failed.add(&task{outcomes: []transport.Outcome{o}}, err)
			continue
		}
		held := o.Delivery.HeldClaim()
		plain := taken[i].sure && !e.stream.retry
		if held != nil && o.Settlement == transport.Ack && held.Done {
			if store, ok := r.marks(o, held, now); ok && plain {
				if t := sure.add(r, e, o, claimAck{store, held}, len(outcomes)); t != nil {
					tasks = append(tasks, t)
				}
				continue
			}
			t, err := more.add(e.stream, e, o, held, len(outcomes))
			if err != nil {
				failed.add(&task{outcomes: []transport.Outcome{o}}, err)
			} else if t != nil {
				tasks = append(tasks, t)
			}
			continue
		}
		if held != nil {
			if t := abort(held); t != nil {
				tasks = append(tasks, t)
			}
		}
		if o.Settlement != transport.Ack {
			t, err := r.move(e, o)
			if err != nil {
				failed.add(&task{outcomes: []transport.Outcome{o}}, err)
				continue
			}
			tasks = append(tasks, t)
			continue
		}
		if e.isItem() {
			items.add(outcomes[i:i+1], e, plain)
			continue
		}
		group := doubt
		if plain {
			group = acks
		}
		t := group[e.stream]
		if t == nil {
			t = r.ack(e.stream, plain, len(outcomes)-i)
			group[e.stream] = t
			tasks = append(tasks, t)
		}
		t.args = append(t.args, &e.id)
		t.outcomes = gather(t.outcomes, &t.own, outcomes[i:i+1], len(outcomes))
	}
	return r.ackItems(items, acks, tasks, len(outcomes)), failed
}

// gather returns list with part at its end. Both are of the outcomes of one call, and
// stay parts of them where they are next to each other, as they are most often: for
// each message it would be the most of what an ack has to allocate. own is whether
// list is a copy; it has room for most, which are all that there can be.
func gather(list []transport.Outcome, own *bool, part []transport.Outcome, most int) []transport.Outcome {
	n := len(list)
	switch {
	case n == 0:
		return part
	case *own:
		return append(list, part...)
	case n+len(part) <= cap(list) && &list[:n+1][n] == &part[0]:
		return list[:n+len(part)]
	}
	*own = true
	return append(append(make([]transport.Outcome, 0, most), list...), part...)
}

// taken is what an entry was when it was taken to be settled.
type taken struct {
	was  state // done is that of an entry that cannot be settled
	sure bool  // nobody else can have its lease
}

// takeAll takes the entries of all outcomes that are of this receiver. Leases that were
// confirmed after safe are beyond doubt, unless somebody has tried to settle.
func (r *receiver) takeAll(outcomes []transport.Outcome, safe time.Time) []taken {
	all := make([]taken, len(outcomes))
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, o := range outcomes {
		e := entryOf(o)
		if e == nil || e.receiver != r {
			continue
		}
		was, ok := r.takeLocked(e, settling)
		if !ok {
			was = done
		}
		all[i] = taken{was, was != unsettled && e.confirmed.After(safe)}
	}
	return all
}

// ack returns the command that acks entries of a stream, whose ids, up to most, are
// yet to be appended: XACK where they are ours beyond doubt; a script that looks, and
// deletes what was acked from a retry stream, elsewhere.
func (r *receiver) ack(s *stream, plain bool, most int) *task {
	t := &task{keys: []string{s.key}, args: make([]any, 0, 3+most)}
	if plain {
		t.args = append(t.args, "xack", s.key, s.group)
	} else {
		t.script, t.args = ackScript, append(t.args, s.group, r.consumer, s.deleteFlag())
	}
	return t
}

// move returns the script call of an outcome that stores the message elsewhere.
func (r *receiver) move(e *entry, o transport.Outcome) (*task, error) {
	s, d := e.stream, o.Delivery
	t := &task{outcomes: []transport.Outcome{o}, moves: e}
	original, err := e.original()
	if err != nil {
		return nil, err
	}
	switch o.Settlement {
	case transport.Retry:
		packed, err := msgpack.Marshal(e.again(original, d.Attempt+1))
		if err != nil {
			return nil, err
		}
		t.script = retryScript
		t.keys = []string{s.key, s.delayKey(), s.delayedKey()}
		t.args = append(r.whose(e), o.After.Milliseconds(), e.member(), packed)
	case transport.DeadLetter:
		t.script = moveScript
		t.keys = []string{s.key, s.dead}
		t.args = append(r.whose(e), deadLetter(original, d.Message, o.Metadata)...)
	default: // Release: to the group's retry stream, where anyone sees it at once.
		t.script = moveScript
		t.keys = []string{s.key, s.retryKey()}
		t.args = r.whose(e)
		for _, v := range e.again(original, d.Attempt) {
			t.args = append(t.args, v)
		}
	}
	t.keys = append(t.keys, s.progressKey())
	return t, nil
}

// whose returns the first arguments of a script that moves an entry: whose it
// must be, and what is to be done with it.
func (r *receiver) whose(e *entry) []any {
	return []any{r.cfg.Group, r.consumer, e.id, e.finish(), r.orphan(e)}
}

// orphanArg is where whose says that an entry is an orphan.
const orphanArg = 4

// missed reports whether a script has left an entry as nobody's because it ran
// after its group was made again, and was sent before that was known here.
func (t *task) missed(reply any) bool {
	return t.moves != nil && !t.orphan && reply == int64(0) && t.moves.receiver.orphan(t.moves)
}

// deadLetter returns the entry of a dead letter. A reserved metadata key, which
// another publisher or a handler may have set, must not keep it from being one.
func deadLetter(original fields, msg *message.Message, failure message.Metadata) []any {
	if original.isEnvelope() {
		return original.envelope.deadLetter(msg, failure)
	}
	metadata := make(message.Metadata, len(msg.Metadata)+len(failure))
	maps.Copy(metadata, msg.Metadata)
	maps.Copy(metadata, failure)
	if reserved, ok := metadata[fieldUUID]; ok {
		delete(metadata, fieldUUID)
		metadata["reserved."+fieldUUID] = reserved
	}
	return encode(msg.UUID, metadata, msg.Payload)
}

// again returns the fields and values of an entry for its next delivery.
func (e *entry) again(original fields, attempt int) []string {
	way := []string{fieldAttempt, strconv.Itoa(attempt), fieldOrigin, e.ID, fieldStored, strconv.FormatInt(e.Stored.UnixMilli(), 10)}
	if original.isEnvelope() {
		return append(original.envelope.again(), way...)
	}
	return append(way, fieldUUID, original.uuid, fieldMetadata, e.traced(original.metadata), fieldPayload, original.payload)
}

// traced returns the metadata as it was stored, with word of the attempt that failed, if
// there is any.
func (e *entry) traced(stored string) string {
	trace := e.Message.Metadata[transport.MetadataFailureTrace]
	if trace == "" {
		return stored
	}
	metadata := message.Metadata{}
	if stored != "" {
		var err error
		if metadata, err = readMetadata(stored); err != nil { // It was read before.
			return stored
		}
	}
	metadata[transport.MetadataFailureTrace] = trace
	return string(appendMetadata(nil, metadata))
}
