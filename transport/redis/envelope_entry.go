package redis

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
)

// setEnvelope takes the value of a field that envelopes have.
func (f *fields) setEnvelope(name, value string) {
	if f.envelope == nil {
		f.envelope = &envelope{}
	}
	if name == fieldData {
		f.envelope.data = value
	} else {
		f.envelope.more = value
	}
}

// isEnvelope reports whether the message came in an envelope.
func (f *fields) isEnvelope() bool { return f.envelope != nil && !f.hasUUID }

// size is how many bytes the payload has, or an entry that is not opened yet.
func (f *fields) size() int {
	if f.isEnvelope() {
		return len(f.envelope.data)
	}
	return len(f.payload)
}

// openEnvelopes reads those entries of a page that are envelopes.
func openEnvelopes(raw []rawEntry, policy EnvelopePolicy) {
	for i := range raw {
		f := &raw[i].known
		f.open(policy)
		switch {
		case !f.isEnvelope() || f.envelope.fault != nil:
		case f.envelope.many != nil:
			f.envelope.many.around = raw[i].aroundBatch()
		default:
			f.envelope.fields = raw[i].foreign()
		}
	}
}

// look finds out what the entry is, once.
func (e *envelope) look() {
	if e.looked {
		return
	}
	e.looked = true
	if e.data == "" {
		e.fault = errUnknown
		return
	}
	if e.outer, e.fault = readOuter(e.data); e.fault == nil && e.outer.version != 0 {
		e.many, e.fault = newBatch(e.outer.version, e.outer.items)
	}
}

// content returns the batch that the entry is, or nil.
func (e *envelope) content() (content, error) {
	if e.look(); e.many == nil {
		return nil, nil
	}
	return e.many, nil
}

// open reads the envelope, if the entry is one.
func (f *fields) open(policy EnvelopePolicy) {
	if !f.isEnvelope() {
		return
	}
	e := f.envelope
	if e.look(); e.fault != nil {
		return
	}
	if e.many != nil {
		e.many.policy = policy
		return
	}
	if e.fault = e.read(e.outer.one, policy); e.fault != nil {
		return
	}
	e.unqualify(e.outer.pattern)
	e.fields = []string{fieldData, e.data}
	f.uuid, f.payload = e.id, e.body
}

var errUnknown = fmt.Errorf("%w: the entry has no field %s, and no envelope in a field %s", ErrUnknownFormat, fieldUUID, fieldData)

// foreign returns the names and values of an entry without those that are ours, and
// data first, where consumers of the TypeScript library look for it. Of an entry that
// has more than a script can pass on, that is all.
func (e *rawEntry) foreign() []string {
	out := []string{fieldData, e.known.envelope.data}
	if e.count > mostForeign {
		return out
	}
	r := e.all
	for i := 0; i < e.count; i += 2 {
		name, err := r.string()
		if err != nil {
			return out
		}
		value, err := r.string()
		if err != nil {
			return out
		}
		if name != fieldData && !strings.HasPrefix(name, "_events_") {
			out = append(out, name, value)
		}
	}
	return out
}

// aroundBatch returns the names and values that each event of a batch keeps: those
// that version 3 gives to the entry of one.
func (e *rawEntry) aroundBatch() []string {
	all := e.foreign()
	var out []string
	for i := 0; i < len(all); i += 2 {
		if all[i] == "timestamp" || all[i] == "topic" {
			out = append(out, all[i], all[i+1])
		}
	}
	return out
}

// mostForeign is how many names and values of others are passed on.
const mostForeign = 900

// decode sets what the message of an envelope consists of.
func (e *envelope) decode(msg *message.Message, payload []byte) (err error) {
	switch {
	case e.fault != nil:
		return e.fault
	case e.many != nil:
		return fmt.Errorf("%w here: it has %d events, of which a Subscriber makes single deliveries", ErrEnvelopeBatch, e.many.count)
	}
	msg.UUID, msg.Payload, msg.Metadata = e.id, payload, message.Metadata{}
	if e.more != "" {
		if msg.Metadata, err = readMetadata(e.more); err != nil {
			return fmt.Errorf("%w: the metadata beside the envelope is %w", ErrUnknownFormat, err)
		}
	}
	e.setMetadata(msg.Metadata)
	return nil
}

// again returns the entry as it came, for its next delivery.
func (e *envelope) again() []string {
	out := slices.Clone(e.fields)
	if e.more != "" {
		out = append(out, fieldMore, e.more)
	}
	return out
}

// deadLetter returns the entry of a dead letter: the envelope as it came, so that
// whoever publishes it again publishes what was published, and the rest of the metadata.
// Of one that is broken it is as bury makes it.
func (e *envelope) deadLetter(msg *message.Message, failure message.Metadata) []any {
	out := make([]any, 0, len(e.fields)+2*len(failure))
	for _, s := range e.fields {
		out = append(out, s)
	}
	if e.fault != nil {
		for key, value := range failure {
			out = append(out, key, value)
		}
		return out
	}
	more := moreOf(msg)
	maps.Copy(more, failure)
	return append(out, fieldMore, appendMetadata(nil, more))
}
