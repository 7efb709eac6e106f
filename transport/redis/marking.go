package redis

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

// marking is acks of a stream that conclude claims and publish nothing, where both the
// entry and the claim are ours beyond doubt. The server has nothing to look at then, so
// it is plain commands in a transaction: a SET for each mark, and the acks. That costs
// it a third of what the script does. A transaction that the server refuses, because
// it is out of memory or a replica for instance, has changed nothing; one whose reply
// is lost is tried again by the script, as by then nothing is beyond doubt any more.
type marking struct {
	stream   *stream
	consumer string
	marks    []claimAck
	ids      []any    // of whole entries
	items    itemAcks // of entries of many messages
	queued   []goredis.Cmder
}

// claimAck is one of them.
type claimAck struct {
	store *IdempotencyStore
	held  *transport.Held
}

// markings gather acks by their streams.
type markings map[*stream]*task

// marks reports whether a claim can be concluded without looking at it. Only a client
// of one server is known to send a transaction as one.
func (r *receiver) marks(o transport.Outcome, h *transport.Held, now time.Time) (*IdempotencyStore, bool) {
	store, ok := h.Store.(*IdempotencyStore)
	_, plain := r.cfg.Client.(*goredis.Client)
	return store, ok && plain && o.Produced == nil && h.Sure(now)
}

// add adds the ack of an entry. It returns a task if that is a new one. most is how
// many outcomes there may be.
func (m markings) add(r *receiver, e *entry, o transport.Outcome, k claimAck, most int) (made *task) {
	t := m[e.stream]
	if t == nil || len(t.outcomes) == mostCommits {
		n := min(most, mostCommits)
		t = &task{keys: []string{e.stream.key}, outcomes: make([]transport.Outcome, 0, n)}
		t.marking = &marking{stream: e.stream, consumer: r.consumer, marks: make([]claimAck, 0, n), ids: make([]any, 0, n)}
		m[e.stream], made = t, t
	}
	t.outcomes = append(t.outcomes, o)
	t.marking.marks = append(t.marking.marks, k)
	if e.isItem() {
		t.marking.items.add(t.outcomes[len(t.outcomes)-1:], e, true)
	} else {
		t.marking.ids = append(t.marking.ids, &e.id)
	}
	return made
}

const argsOfSet = 5

// queue adds the transaction to a pipeline, and returns the command that has its reply.
func (m *marking) queue(ctx context.Context, pipe goredis.Pipeliner) *goredis.RawCmd {
	size := 0
	for i := range m.marks {
		k := &m.marks[i]
		size += len(k.store.cfg.KeyPrefix) + len(k.held.Claim.Key) + sizeOfMark(k.held.Claim)
	}
	// What the commands consist of is allocated for all of them at once; see adding.
	t := newTexts(len(m.marks), argsOfSet, size)
	m.queued = make([]goredis.Cmder, 0, len(m.marks)+4)
	sets := make([]goredis.StatusCmd, len(m.marks))
	m.queued = append(m.queued, goredis.NewStatusCmd(ctx, "multi"))
	var keep time.Duration
	var keepArg any
	for i := range m.marks {
		k := &m.marks[i]
		c := k.held.Claim
		if keepArg == nil || c.Keep != keep {
			keep, keepArg = c.Keep, ms(c.Keep)
		}
		t.room = append(append(t.room, k.store.cfg.KeyPrefix...), c.Key...)
		key := t.cut()
		t.room = appendMark(t.room, c)
		sets[i] = *goredis.NewStatusCmd(ctx, t.command("set", key, t.cut(), "px", keepArg)...)
		m.queued = append(m.queued, &sets[i])
	}
	m.queueAcks(ctx)
	exec := goredis.NewRawCmd(ctx, "exec")
	_ = pipe.BatchProcess(ctx, append(m.queued, exec)...) // It only collects them.
	return exec
}

func (m *marking) queueAcks(ctx context.Context) {
	s := m.stream
	acks := append(make([]any, 0, 3+len(m.ids)+len(m.items.all)), "xack", s.key, s.group)
	acks = append(acks, m.ids...)
	parts := []any{"eval", progressSource + ackItemsSource, 2, s.key, s.progressKey(), s.group, m.consumer}
	none := len(parts)
	for _, b := range m.items.all {
		if e := b.first; len(b.outcomes) == e.bundle.messages {
			acks = append(acks, &e.id)
		} else {
			from, bits := bitsOf(b.outcomes)
			parts = append(parts, &e.id, e.bundle.messages, from, bits)
		}
	}
	if len(acks) > 3 {
		m.queued = append(m.queued, goredis.NewStatusCmd(ctx, acks...))
	}
	if len(parts) > none {
		// The script itself: a server that does not know its hash would say so after the marks are set.
		m.queued = append(m.queued, goredis.NewStatusCmd(ctx, parts...))
	}
}

// failed returns why not all of the transaction was done, or nil.
func (m *marking) failed(exec *goredis.RawCmd) error {
	if exec.Err() != nil {
		return exec.Err()
	}
	for _, cmd := range m.queued { // Why the server refuses it, if it does.
		if err := cmd.Err(); err != nil {
			return err
		}
	}
	text := textOf(exec.Val())
	head, text, _ := strings.Cut(text, "\r\n")
	switch {
	case strings.HasPrefix(head, "-"):
		return serverError(head[1:])
	case head == "", head[0] != '*', head == "*-1":
		return errNoReply
	}
	for len(text) > 0 { // OK, or a number
		var line string
		if line, text, _ = strings.Cut(text, "\r\n"); strings.HasPrefix(line, "-") {
			return serverError(line[1:])
		}
	}
	return nil
}

// looking returns the tasks that do what t does, which has failed by err, after
// looking at each claim.
func (r *receiver) looking(t *task, err error, failed *failures) (tasks []*task) {
	more := commits{}
	for i, k := range t.marking.marks {
		o := t.outcomes[i]
		e := entryOf(o)
		switch made, refused := more.add(e.stream, e, o, k.held, len(t.outcomes)); {
		case refused != nil:
			failed.add(&task{outcomes: []transport.Outcome{o}}, refused)
		case made != nil:
			made.err = cmp.Or(err, errNoReply)
			tasks = append(tasks, made)
		}
	}
	return tasks
}
