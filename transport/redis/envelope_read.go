package redis

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/jsontext"
)

// envelope is an entry of the TypeScript library, or one of the events of a batch.
type envelope struct {
	data, more string // fields of the entry
	fault      error  // what is wrong with it
	looked     bool   // into data: outer, and many if it is a batch
	outer      outer
	many       *batch

	id, kind, origin, timestamp, hash, version string
	originPrefix, namespace                    *string // nil: it has none

	givenHash string   // if hash was another one
	body      string   // as it is in the entry
	fields    []string // and values of the entry, without ours; those of data first
}

// asBytes returns a part of an entry as bytes, which nobody may change.
func asBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// outer is what the field data of an entry holds.
type outer struct {
	pattern []byte // a JSON value, nil if there is none
	one     []byte // an envelope, or
	version int    // of a batch: 2 or 3, or 0 if it is none
	items   []byte // of a batch: its list
}

// readOuter finds out what an entry of that library is: {pattern, data: envelope} of
// version 2, an envelope of version 3, or what either makes a batch of. What its
// consumer writes to its dead letters, the list ["data", "<entry>"], is the entry.
func readOuter(data string) (o outer, err error) {
	text := asBytes(data)
	if strings.HasPrefix(data, "[") {
		inner, ok := fromList(text)
		if !ok {
			return o, fmt.Errorf("%w: %s", ErrEnvelopeJSON, quoted(data))
		}
		text = asBytes(inner)
	}
	var header, wrapped, metadata []byte
	ok := jsontext.Members(text, func(name string, value []byte) {
		switch name {
		case "header":
			header = value
		case "pattern":
			o.pattern = value
		case "data":
			wrapped = value
		case "metadata":
			metadata = value
		}
	})
	switch {
	case !ok:
		return o, fmt.Errorf("%w: %s", ErrEnvelopeJSON, quoted(data))
	case header != nil || wrapped == nil:
		o.one = text
	case wrapped[0] == '[' && metadata != nil:
		o.version, o.items = 3, wrapped
		return o, nil
	default:
		o.one = wrapped
	}
	return o, o.lookForBatch()
}

// fromList returns the value of the field data in a list of names and values.
func fromList(text []byte) (data string, found bool) {
	n, isData := 0, false
	ok := jsontext.Elements(text, func(value []byte) {
		s, ok := jsontext.Text(value)
		if isData && ok && !found {
			data, found = s, true
		}
		isData = n%2 == 0 && s == fieldData
		n++
	})
	return data, ok && found
}

// lookForBatch tells a batch of version 2 by its header.
func (o *outer) lookForBatch() error {
	var header, body []byte
	jsontext.Members(o.one, func(name string, value []byte) {
		switch name {
		case "header":
			header = value
		case "body":
			body = value
		}
	})
	batch := false
	jsontext.Members(header, func(name string, _ []byte) { batch = batch || name == "messageCount" })
	if !batch {
		return nil
	}
	jsontext.Members(body, func(name string, value []byte) {
		if name == "messages" {
			o.items = value
		}
	})
	if o.items == nil {
		return fmt.Errorf("%w: it has no list of messages", ErrEnvelopeBatch)
	}
	o.version = 2
	return nil
}

// read reads an envelope.
func (e *envelope) read(text []byte, policy EnvelopePolicy) error {
	var header, body []byte
	ok := jsontext.Members(text, func(name string, value []byte) {
		switch name {
		case "header":
			header = value
		case "body":
			body = value
		}
	})
	switch {
	case !ok:
		return fmt.Errorf("%w: %s", ErrEnvelopeJSON, quoted(textOf(text)))
	case header == nil:
		return fmt.Errorf("%w: there is none", ErrEnvelopeHeader)
	}
	if err := e.readHeader(header); err != nil {
		return err
	}
	if body == nil {
		return ErrEnvelopeBody
	}
	e.body = textOf(body)
	if policy.Versions != nil && !slices.Contains(policy.Versions, e.version) {
		return fmt.Errorf("%w: %s", ErrEnvelopeVersion, quoted(e.version))
	}
	return e.checkHash(policy)
}

// readHeader reads a header. As the library does, it insists on all its members.
func (e *envelope) readHeader(header []byte) error {
	members := []struct {
		name string
		to   *string
		ok   bool
	}{{name: "id", to: &e.id}, {name: "type", to: &e.kind}, {name: "origin", to: &e.origin}, {name: "timestamp", to: &e.timestamp}, {name: "hash", to: &e.hash}, {name: "version", to: &e.version}}
	ok := jsontext.Members(header, func(name string, value []byte) {
		if name == "originPrefix" {
			if prefix, ok := jsontext.Text(value); ok {
				e.originPrefix = &prefix
			}
			return
		}
		for i := range members {
			if m := &members[i]; m.name == name {
				*m.to, m.ok = jsontext.Text(value)
			}
		}
	})
	if !ok {
		return fmt.Errorf("%w: it is no object", ErrEnvelopeHeader)
	}
	for i, m := range members {
		if !m.ok || i < 2 && *m.to == "" {
			return fmt.Errorf("%w: it has no %s, or one that is no text", ErrEnvelopeHeader, m.name)
		}
	}
	return nil
}

// checkHash compares the hash with that of the body as it came; for a writer that
// leaves white space in JSON, with that of the body as JSON.stringify writes it.
func (e *envelope) checkHash(policy EnvelopePolicy) error {
	hash := events.Hash(asBytes(e.body))
	if hash == e.hash {
		return nil
	}
	if body, err := jsontext.Stringify(nil, asBytes(e.body)); err == nil {
		if hash = events.Hash(body); hash == e.hash {
			return nil
		}
	}
	if policy.RefuseWrongHash {
		return fmt.Errorf("%w: %s, and the body's is %s", ErrEnvelopeHash, quoted(e.hash), hash)
	}
	e.hash, e.givenHash = hash, e.hash
	return nil
}

// unqualify takes the namespace off the event type, given a text that ends with the type
// without it: the pattern, of which a route's prefix is the rest, or the eventType of a
// batch. It is the shortest namespace for which that is so.
func (e *envelope) unqualify(by []byte) {
	text, ok := jsontext.Text(by)
	if !ok {
		return
	}
	for i := range len(e.kind) {
		if e.kind[i] == '.' && i > 0 && i+1 < len(e.kind) && strings.HasSuffix(text, e.kind[i+1:]) {
			namespace := e.kind[:i]
			e.namespace, e.kind = &namespace, e.kind[i+1:]
			return
		}
	}
}

// setMetadata writes the header into metadata.
func (e *envelope) setMetadata(md message.Metadata) {
	md[events.MetadataType] = e.kind
	md[events.MetadataOrigin] = e.origin
	md[events.MetadataTime] = e.timestamp
	md[events.MetadataHash] = e.hash
	md[events.MetadataVersion] = e.version
	for key, value := range map[string]*string{MetadataNamespace: e.namespace, MetadataOriginPrefix: e.originPrefix} {
		if value == nil {
			delete(md, key)
		} else {
			md[key] = *value
		}
	}
	delete(md, MetadataHashGiven)
	if e.givenHash != "" {
		md[MetadataHashGiven] = e.givenHash
	}
}

// quoted is the beginning of a text, for errors.
func quoted(text string) string { return fmt.Sprintf("%.100q", text) }
