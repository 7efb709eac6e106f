package redis

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport/redis/internal/pack"
)

// content is what is in an entry that carries many messages. An entry is known by
// its fields; see contentOf.
type content interface {
	// size returns how many messages there are and how many bytes their payloads
	// have. What is read ahead is counted by it before anything is unpacked, so that
	// it must be cheap; it need not be exact.
	size() (messages, bytes int)
	// unpack returns the messages, the same ones at each call: what they consist of in
	// memory of their own, and themselves in that of buf, where there is enough. If one
	// of them is none, that is an error of the whole entry, which then goes to the dead
	// letters as it is.
	unpack(buf []pack.Message) ([]pack.Message, error)
}

// contentOf returns the content of an entry that carries many messages, and nil if
// it is one message, or none at all. An error means that it says it carries many,
// and cannot.
func contentOf(f *fields) (content, error) {
	if f.isEnvelope() {
		return f.envelope.content()
	}
	if f.packed == "" {
		return nil, nil
	}
	p, err := pack.Parse(f.packed)
	if err != nil {
		return nil, err
	}
	return packed{p}, nil
}

// packed is the content of an entry that a Publisher has packed.
type packed struct{ pack.Pack }

func (p packed) size() (messages, bytes int)                       { return p.Messages, p.Bytes }
func (p packed) unpack(buf []pack.Message) ([]pack.Message, error) { return p.Unpack(buf) }

// DecodeAll reads the messages of a stream entry in any format: of one that a
// [Publisher] has packed all that it carries, of others the one.
func DecodeAll(values map[string]any) ([]*message.Message, error) {
	f := fieldsOf(values)
	c, err := contentOf(&f)
	if c == nil && err == nil {
		msg, err := Decode(values)
		if err != nil {
			return nil, err
		}
		return []*message.Message{msg}, nil
	}
	if err != nil {
		return nil, err
	}
	parts, err := c.unpack(nil)
	if err != nil {
		return nil, err
	}
	msgs := make([]*message.Message, len(parts))
	for i, p := range parts {
		msgs[i] = message.NewMessage(p.UUID, p.Payload)
		msgs[i].Metadata = p.Metadata
	}
	return msgs, nil
}

// errMany says what the entry is to who wants one message.
var errMany = fmt.Errorf("%w but many: read the entry with DecodeAll", ErrUnknownFormat)

// bundle is an entry of many messages, which share its lease. It comes as one entry,
// is queued as that, and becomes deliveries when Receive wants them: until then it is
// small. When these are settled is kept on the server in the group's progress.
type bundle struct {
	content  content
	raw      rawEntry
	messages int // as it says; once it is unpacked, as there are
	bytes    int
	progress string // what was settled when the entry was read, a bit for each message

	// items are those that were not settled when the entry was read, once it is
	// unpacked. Guarded by the receiver's lock.
	items []entry

	originals func() ([]pack.Message, error) // as unpack returns them
}

// decode makes the message of an entry. If it carries many, that stays empty, and
// the entry has a bundle.
func (e *entry) decode(raw *rawEntry, payload []byte) error {
	c, err := contentOf(&e.fields)
	switch {
	case c == nil && err == nil:
		return decode(&e.message, e.fields, payload)
	case err == nil && e.stream.retry:
		err = errBundleRetry
	}
	if err != nil {
		return err
	}
	b := &bundle{content: c, raw: *raw, progress: raw.progress, originals: sync.OnceValues(func() ([]pack.Message, error) { return c.unpack(nil) })}
	b.messages, b.bytes = raw.messages()
	e.bundle, e.item = b, whole
	return nil
}

// messages returns how many messages an entry has and how many bytes of payload.
func (e *rawEntry) messages() (count, bytes int) {
	c, err := contentOf(&e.known)
	if c == nil || err != nil {
		return 1, e.known.size()
	}
	count, bytes = c.size()
	return max(count, 1), max(bytes, 0)
}

// whole is the item of an entry that is not unpacked.
const whole = -1

// isWhole reports whether an entry is of many messages and not unpacked.
func (e *entry) isWhole() bool { return e.bundle != nil && e.item == whole }

// isItem reports whether an entry is one of the messages of an entry.
func (e *entry) isItem() bool { return e.bundle != nil && e.item != whole }

var errBundleRetry = errors.New("not a message: an entry of many messages is in a retry stream, where each is an entry of its own")

// fits reports whether what is queued of an entry of many messages, of which the
// message at i comes first, is no more than room, so that Receive hands over all of it
// at once: what arrives together is most often settled together, and then the entry is
// acked, while progress has to be kept of parts. The caller holds the lock.
func (r *receiver) fits(i, room int) bool {
	e := r.queue[i]
	if !e.isItem() || i > 0 && r.queue[i-1].bundle == e.bundle {
		return true // or some have gone already
	}
	last := min(i+room, len(r.queue)-1)
	return r.queue[last].bundle != e.bundle || last < i+room
}

// unpackNext unpacks what is among the next messages that Receive hands over.
func (r *receiver) unpackNext(most int) {
	if r.nextWhole(most) == nil {
		return
	}
	r.unpacking.Lock() // One at a time, so that they stay in order and take little memory.
	defer r.unpacking.Unlock()
	for e := r.nextWhole(most); e != nil; e = r.nextWhole(most) {
		r.unpack(e)
	}
}

func (r *receiver) nextWhole(most int) *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wholes == 0 {
		return nil
	}
	for i, e := range r.queue[:min(most, len(r.queue))] {
		if e.isWhole() && e.state == ready {
			if i > 0 && i+e.bundle.messages > most {
				return nil // Better all of it at once, in the next page; see fits.
			}
			return e
		}
	}
	return nil
}

// unpack puts the deliveries of an entry in its place. It holds the lock unpacking.
func (r *receiver) unpack(e *entry) {
	b := e.bundle
	msgs, err := b.content.unpack(r.unpacked)
	if err == nil && len(msgs) == 0 {
		err = errors.New("not a message: the entry has room for many, and none in it")
	}
	var items []entry
	if err == nil {
		items = e.deliveries(msgs)
	}
	n := len(msgs)
	r.keep(msgs)
	r.mu.Lock()
	i := slices.Index(r.queue, e)
	if e.state != ready || i < 0 { // Lost in the meantime.
		r.mu.Unlock()
		return
	}
	r.held.remove(e)
	r.waits(e, -1)
	e.state = done
	e.stream.count(len(items) - 1)
	b.messages, b.items = n, items
	queued, broken := make([]*entry, 0, len(items)), []*entry(nil)
	for n := range items {
		r.held.push(&items[n])
		if items[n].broken() != nil {
			broken = append(broken, &items[n])
			continue
		}
		queued = append(queued, &items[n])
		r.waits(&items[n], +1)
	}
	r.queue = slices.Replace(r.queue, i, i+1, queued...)
	r.mu.Unlock()
	switch {
	case err != nil:
		r.bury(e, &b.raw, err)
	case len(items) == 0:
		r.ackSettled(e)
	}
	r.refuse(broken)
}

// keep keeps the memory of messages that were unpacked for the next ones, unless it is
// large. It holds the lock unpacking.
func (r *receiver) keep(msgs []pack.Message) {
	const large = 1024
	clear(msgs)
	if r.unpacked = msgs[:0]; cap(msgs) > large {
		r.unpacked = nil
	}
}

// waits counts an entry that is put into the queue, +1, or taken out of it, -1. The
// caller holds the lock.
func (r *receiver) waits(e *entry, times int) {
	if e.isWhole() {
		r.wholes += times
		r.bundled += times * (e.bundle.messages - 1)
		r.queueBytes += times * e.bundle.bytes
		return
	}
	r.queueBytes += times * len(e.Message.Payload)
}

// deliveries makes the deliveries of those messages that are not settled.
func (e *entry) deliveries(msgs []pack.Message) []entry {
	items := make([]entry, len(msgs))[:0]
	ids := make([]byte, 0, len(msgs)*(len(e.ID)+len("#9999")))
	for i := range msgs {
		if hasBit(e.bundle.progress, i) {
			continue
		}
		start := len(ids)
		ids = strconv.AppendInt(append(append(ids, e.ID...), '#'), int64(i), 10)
		items = items[:len(items)+1]
		item := &items[len(items)-1]
		item.record, item.item, item.state = e.record, int32(i), ready
		item.message.UUID, item.message.Metadata, item.message.Payload = msgs[i].UUID, msgs[i].Metadata, msgs[i].Payload
		item.message.SetContext(&item.context)
		item.Message, item.Topic, item.ID, item.Receipt = &item.message, e.Topic, textOf(ids[start:]), item
		item.Stored, item.Attempt = e.Stored, e.Attempt
	}
	return items
}

// sharers returns the deliveries that share the lease of an entry.
func (r *receiver) sharers(e *entry) []*entry {
	if e.bundle == nil {
		return []*entry{e}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.bundle.items == nil {
		return []*entry{e}
	}
	all := make([]*entry, len(e.bundle.items))
	for i := range all {
		all[i] = &e.bundle.items[i]
	}
	return all
}

// begun reports whether messages of the entry that this one is of have been handed
// over already. The caller holds the lock of the receiver.
func (e *entry) begun() bool {
	if !e.isItem() {
		return false
	}
	for i := range e.bundle.items {
		if s := e.bundle.items[i].state; s == given || s == settling {
			return true
		}
	}
	return false
}

// leases leaves one entry of each lease.
func leases(entries []*entry) (one []*entry) {
	seen := map[*bundle]bool{}
	for _, e := range entries {
		if e.bundle != nil {
			if seen[e.bundle] {
				continue
			}
			seen[e.bundle] = true
		}
		one = append(one, e)
	}
	return one
}
