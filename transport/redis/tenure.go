package redis

import (
	"slices"
	"time"

	"github.com/logistically/events/transport"
)

// tenure is the hold of an exclusive receiver on a topic: of all receivers of a
// group, one at a time reads it.
type tenure struct {
	topic   string
	streams []*stream // of the topic, and of its retries

	// Guarded by the receiver's lock.
	phase   phase
	number  int       // which one it is; what was read in an earlier one counts no more
	until   time.Time // it ends then, unless it is renewed
	open    int       // entries that are held or being settled
	reading int       // reads under way
	behind  []*stream // whose pending entries are still to be taken over
	cursor  string    // of those of the first of them, the last that was
	leave   time.Time // when leaving ends, whatever is still open
}

// phase is how far a tenure has come.
type phase uint8

const (
	vacant     phase = iota // the topic is somebody else's, or nobody's
	inheriting              // what is pending is taken over first, in order
	owned                   // what is new is read
	leaving                 // no more is read; what is open is waited for
	left                    // to be given up with the next look
)

// givenBack is the consumer that has what receivers have given back.
const givenBack = "(given back)"

// membersKey is where the consumers of a group know of each other.
func (s *stream) membersKey() string { return transport.HashTag(s.topic) + ":members:" + s.group }

// begin starts a tenure. The caller holds the lock.
func (t *tenure) begin(until time.Time) {
	t.phase, t.until, t.leave = inheriting, until, time.Time{}
	t.again()
}

// again takes over what is pending once more, because what is known of it may not be
// all. Pages that are on their way do not count any more. The caller holds the lock.
func (t *tenure) again() {
	t.number++
	t.cursor = ""
	t.behind = t.streams
}

// lasts reports whether the tenure of a number goes on. The caller holds the lock.
func (t *tenure) lasts(number int, now time.Time) bool {
	return t.phase != vacant && t.number == number && now.Before(t.until)
}

// owns reports whether the tenure of a number goes on, of a stream's topic.
func (r *receiver) owns(s *stream, number int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.tenure.lasts(number, time.Now())
}

func (r *receiver) phaseOf(t *tenure) phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	return t.phase
}

// count notes that an entry of the stream is open, or is not any more. The caller
// holds the lock of the receiver.
func (s *stream) count(n int) {
	if s.tenure != nil {
		s.tenure.open += n
	}
}

// handsOut reports whether what is ready may be handed out. What is read while a
// topic is being left may come after something that was given back. The caller holds
// the lock of the receiver.
func (s *stream) handsOut() bool {
	t := s.tenure
	return t == nil || (t.phase == owned || t.phase == inheriting) && t.lasts(t.number, time.Now())
}

// tenureOf is the number of the tenure that a stream's topic has.
func (r *receiver) tenureOf(s *stream) int {
	if s.tenure == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return s.tenure.number
}

// readable returns those of the streams that may be read, and notes in the page
// that they are. If there is a stream whose pending entries come first, it is
// returned instead.
func (r *receiver) readable(p *pageOfEntries, streams []*stream) (read []*stream, behind *stream, changed <-chan struct{}) {
	if !r.cfg.Exclusive {
		return streams, nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, s := range streams {
		t := s.tenure
		switch {
		case !t.lasts(t.number, now):
		case t.phase == inheriting && t.behind[0] == s:
			r.mark(p, nil) // instead of the others
			r.mark(p, s)
			return nil, s, nil
		case t.phase == owned:
			r.mark(p, s)
			read = append(read, s)
		}
	}
	return read, nil, r.tenuresChanged
}

// mark is the tenure in which a stream is read.
type mark struct {
	stream *stream
	number int
}

// mark notes that a stream is being read, or, of nil, that none is. The caller holds the lock.
func (r *receiver) mark(p *pageOfEntries, s *stream) {
	if s == nil {
		for _, m := range p.marks {
			m.stream.tenure.reading--
		}
		p.marks = p.marks[:0]
		return
	}
	s.tenure.reading++
	p.marks = append(p.marks, mark{s, s.tenure.number})
}

// endRead notes that a read is over, and what it has brought is held.
func (r *receiver) endRead(p *pageOfEntries) {
	if len(p.marks) > 0 {
		r.mu.Lock()
		r.mark(p, nil)
		r.mu.Unlock()
	}
}

// doubt makes the tenures of a read begin again with what is pending: there may be
// something that was read by a command whose reply was lost.
func (r *receiver) doubt(p *pageOfEntries) {
	if len(p.marks) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range p.marks {
		if t := m.stream.tenure; t.number == m.number && (t.phase == owned || t.phase == inheriting) {
			t.phase = inheriting
			t.again()
		}
	}
}

// tenureOfPart is the tenure in which a part of the page was read.
func (p *pageOfEntries) tenureOf(s *stream) int {
	for _, m := range p.marks {
		if m.stream == s {
			return m.number
		}
	}
	return 0
}

// apply applies what the server says of a topic: 0, not ours; 1, still ours; 2, ours from now on.
func (r *receiver) apply(t *tenure, ours int64, now time.Time) {
	r.mu.Lock()
	until := now.Add(r.cfg.Lease)
	began := false
	// The server has nothing of a tenure that lasts: it was flushed. The topic was nobody else's.
	lasts := t.lasts(t.number, time.Now())
	switch {
	case ours == 0 && t.phase == left:
		t.phase = vacant
	case ours == 0 && t.phase != vacant, ours == 2 && t.phase != vacant && !lasts:
		r.mu.Unlock()
		r.dismiss(t)
		r.mu.Lock()
	case ours > 0 && t.phase != vacant:
		t.until = until
		if !lasts && t.phase != leaving {
			// What was read and not handed out while it was in doubt is pending.
			r.forgetReady(t)
			t.phase = inheriting
			t.again()
			r.tellReaders()
		}
	}
	if ours > 0 && t.phase == vacant {
		t.begin(until)
		began = true
		r.tellReaders()
	}
	r.mu.Unlock()
	if began {
		r.cfg.Logger.Info("redis: a topic is taken", "topic", t.topic, "group", r.cfg.Group, "consumer", r.consumer)
	}
}

// tellReaders wakes readers that have no topic to read. The caller holds the lock.
func (r *receiver) tellReaders() {
	close(r.tenuresChanged)
	r.tenuresChanged = make(chan struct{})
}

// expire ends the tenures whose time is up.
func (r *receiver) expire(tenures []*tenure) {
	for _, t := range tenures {
		r.mu.Lock()
		over := t.phase != vacant && !t.lasts(t.number, time.Now())
		r.mu.Unlock()
		if over {
			r.dismiss(t)
		}
	}
}

// dismiss ends a tenure that is lost: what is held is the next owner's.
func (r *receiver) dismiss(t *tenure) {
	r.mu.Lock()
	had := t.phase != vacant
	t.phase = vacant
	r.mu.Unlock()
	if !had {
		return
	}
	r.cfg.Logger.Warn("redis: a topic is lost to another consumer: this one was silent for too long", "topic", t.topic, "group", r.cfg.Group, "consumer", r.consumer)
	held := r.snapshot(func(e *entry) bool { return e.stream.tenure == t })
	inOrder(held)
	for _, e := range slices.Backward(held) { // None may begin because the one before it has ended.
		r.lose(e)
	}
}

// forgetReady lets go of what is held and not handed out. It stays pending. Of an
// entry of which some messages are with handlers, the others come next. The caller
// holds the lock.
func (r *receiver) forgetReady(t *tenure) {
	var rest []*entry
	for e := r.held.first; e != nil; {
		next := e.next
		switch {
		case e.stream.tenure != t || e.state != ready:
		case e.begun():
			rest = append(rest, e)
		default:
			_, _ = r.takeLocked(e, done)
		}
		e = next
	}
	if len(rest) == 0 {
		return
	}
	inOrder(rest)
	for _, e := range rest {
		if i := slices.Index(r.queue, e); i >= 0 {
			r.queue = slices.Delete(r.queue, i, i+1)
		} else {
			r.waits(e, +1)
		}
	}
	r.queue = append(rest, r.queue...)
}
