package redis

import (
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/jsontext"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis/internal/pack"
)

// batch is the content of an entry of many events, as the TypeScript library makes one.
type batch struct {
	version int
	list    []byte   // a JSON array of the events
	count   int      // how many there are
	around  []string // names and values of the entry that each of its events keeps
	policy  EnvelopePolicy

	apart sync.Once
	items []*envelope // of those that are broken, what is wrong with them
}

// newBatch makes a batch of a list, unless it is none or empty.
func newBatch(version int, list []byte) (*batch, error) {
	b := &batch{version: version, list: list}
	if !jsontext.Elements(list, func([]byte) { b.count++ }) {
		return nil, fmt.Errorf("%w: it has no list of events", ErrEnvelopeBatch)
	}
	if b.count == 0 {
		return nil, fmt.Errorf("%w: it has no event", ErrEnvelopeBatch)
	}
	return b, nil
}

func (b *batch) size() (messages, bytes int) { return b.count, len(b.list) }

// unpack implements content. In the place of an event that is broken there is an
// empty message; see item.
func (b *batch) unpack([]pack.Message) ([]pack.Message, error) {
	b.apart.Do(func() {
		jsontext.Elements(b.list, func(value []byte) { b.items = append(b.items, b.read(value)) })
	})
	msgs := make([]pack.Message, len(b.items))
	for i, e := range b.items {
		if e.fault == nil {
			msgs[i] = pack.Message{UUID: e.id, Payload: []byte(e.body), Metadata: make(message.Metadata, 8)}
			e.setMetadata(msgs[i].Metadata)
		}
	}
	return msgs, nil
}

// read reads one event. In version 2 it stands in an envelope of its own, beside its
// type without the namespace.
func (b *batch) read(value []byte) *envelope {
	e := &envelope{}
	data := textOf(value)
	if b.version == 3 {
		e.fault = e.read(value, b.policy)
	} else {
		var kind, inner []byte
		ok := jsontext.Members(value, func(name string, member []byte) {
			switch name {
			case "eventType":
				kind = member
			case "envelope":
				inner = member
			}
		})
		switch {
		case !ok:
			e.fault = fmt.Errorf("%w: %s", ErrEnvelopeJSON, quoted(data))
		case inner == nil:
			e.fault = fmt.Errorf("%w: the event has no envelope", ErrEnvelopeHeader)
		default:
			e.fault = e.read(inner, b.policy)
		}
		if e.fault == nil {
			if kind == nil {
				kind = jsontext.AppendText(nil, e.kind)
			}
			e.unqualify(kind)
			// As its publisher would have written it alone.
			data = `{"pattern":` + textOf(kind) + `,"data":` + textOf(inner) + `}`
		}
	}
	e.fields = append([]string{fieldData, data}, b.around...)
	return e
}

// item returns the fields of an entry of one event alone, and what is wrong with it.
func (b *batch) item(i int) (f fields, fault error) {
	e := b.items[i]
	if e.fault != nil {
		fault = fmt.Errorf("event %d of a batch of %d: %w", i+1, len(b.items), e.fault)
	}
	return fields{envelope: e}, fault
}

// broken returns what is wrong with one of the messages of an entry, and not with the others.
func (e *entry) broken() error {
	if b, ok := e.bundle.content.(*batch); ok {
		_, fault := b.item(int(e.item))
		return fault
	}
	return nil
}

// refuse moves broken messages of an entry to the dead letters, as they are there.
func (r *receiver) refuse(items []*entry) {
	outcomes := make([]transport.Outcome, len(items))
	for i, e := range items {
		outcomes[i] = e.DeadLetter(e.broken())
	}
	if len(items) == 0 {
		return
	}
	if err := r.Settle(r.ctx, outcomes...); err != nil {
		r.cfg.Logger.Error("redis: broken events of a batch stay pending", "stream", items[0].stream.key, "id", items[0].id, "count", len(items), "error", err)
		return
	}
	r.incidents.undecodable.Add(int64(len(items)))
	r.cfg.Logger.Warn("redis: broken events of a batch moved to the dead letters", "stream", items[0].stream.key, "id", items[0].id, "count", len(items), "target", items[0].stream.dead, "cause", outcomes[0].Cause)
}
