package redis

import (
	"fmt"

	"github.com/logistically/events/internal/jsontext"
)

// batch is an entry of many events, as the TypeScript library makes one of them.
type batch struct {
	version int
	list    []byte   // a JSON array of what items makes items of
	around  []string // names and values of the entry that each of its events keeps
	policy  EnvelopePolicy
}

// batchItem is one event of a batch.
type batchItem struct {
	envelope *envelope // nil if it is broken
	raw      string    // as it is in the batch
	fault    error     // what is wrong with it
}

// items takes a batch apart. What is wrong with one of them is that one's fault.
func (b *batch) items() (items []batchItem, err error) {
	ok := jsontext.Elements(b.list, func(value []byte) {
		item := batchItem{raw: textOf(value)}
		if e, err := b.read(value); err != nil {
			item.fault = fmt.Errorf("event %d of a batch: %w", len(items)+1, err)
		} else {
			item.envelope = e
		}
		items = append(items, item)
	})
	if !ok {
		return nil, fmt.Errorf("%w: it has no list of events", ErrEnvelopeBatch)
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("%w: it has no event", ErrEnvelopeBatch)
	}
	return items, nil
}

// read reads one event. In version 2 it stands in an envelope of its own, beside its
// type without the namespace.
func (b *batch) read(value []byte) (*envelope, error) {
	if b.version == 3 {
		e := &envelope{fields: append([]string{fieldData, textOf(value)}, b.around...)}
		return e, e.read(value, b.policy)
	}
	var kind, inner []byte
	if !jsontext.Members(value, func(name string, member []byte) {
		switch name {
		case "eventType":
			kind = member
		case "envelope":
			inner = member
		}
	}) {
		return nil, fmt.Errorf("%w: %s", ErrEnvelopeJSON, quoted(textOf(value)))
	}
	if inner == nil {
		return nil, fmt.Errorf("%w: the event has no envelope", ErrEnvelopeHeader)
	}
	e := &envelope{}
	if err := e.read(inner, b.policy); err != nil {
		return nil, err
	}
	if kind == nil {
		kind = jsontext.AppendText(nil, e.kind)
	}
	e.unqualify(kind)
	// As its publisher would have written it alone.
	data := `{"pattern":` + textOf(kind) + `,"data":` + textOf(inner) + `}`
	e.fields = append([]string{fieldData, data}, b.around...)
	return e, nil
}
