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

// openEnvelopes reads those entries of a page that are envelopes.
func openEnvelopes(raw []rawEntry, policy EnvelopePolicy) {
	for i := range raw {
		if f := &raw[i].known; f.open(policy) {
			f.envelope.fields = raw[i].foreign()
		}
	}
}

// open reads the envelope, and reports whether the entry is one.
func (f *fields) open(policy EnvelopePolicy) bool {
	e := f.envelope
	if e == nil || f.hasUUID {
		return false
	}
	if e.data == "" {
		e.fault = errUnknown
		return false
	}
	o, err := readOuter(e.data)
	if err == nil {
		err = e.read(o.one, policy)
	}
	if err != nil {
		e.fault = err
		return false
	}
	e.unqualify(o.pattern)
	e.fields = []string{fieldData, e.data}
	f.uuid, f.payload = e.id, e.body
	return true
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

// mostForeign is how many names and values of others are passed on.
const mostForeign = 900

// decode sets what the message of an envelope consists of.
func (e *envelope) decode(msg *message.Message, payload []byte) (err error) {
	if e.fault != nil {
		return e.fault
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
func (e *envelope) deadLetter(msg *message.Message, failure message.Metadata) []any {
	more := moreOf(msg)
	maps.Copy(more, failure)
	out := make([]any, 0, len(e.fields)+2)
	for _, s := range e.fields {
		out = append(out, s)
	}
	return append(out, fieldMore, appendMetadata(nil, more))
}
