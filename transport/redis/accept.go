package redis

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/logistically/events/transport"
)

// accept decodes entries and makes them ready. deliveries counts how often each
// was delivered; nil means once. The entries are ours since a moment after at, if
// the tenure in which they were read lasts.
func (r *receiver) accept(s *stream, raw []rawEntry, deliveries map[string]int64, at time.Time, tenure int) {
	page, records := make([]entry, len(raw)), make([]record, len(raw)) // one allocation for all
	good := page[:0]
	openEnvelopes(raw, r.cfg.Envelopes)
	payloads := copyPayloads(raw)
	for i := range raw {
		e := &page[len(good)]
		records[i] = record{receiver: r, stream: s, id: raw[i].id, fields: raw[i].known, confirmed: at}
		*e = entry{record: &records[i], state: ready}
		e.Delivery = transport.Delivery{Topic: s.topic, ID: e.id, Attempt: 1, Stored: storedAt(e.id), Receipt: e}
		if s.retry {
			e.restore()
		}
		e.reads = max(deliveries[e.id], 1)
		e.Attempt += int(e.reads - 1)
		n := len(e.fields.payload)
		err := e.decode(&raw[i], payloads[:n:n])
		payloads = payloads[n:]
		if err != nil {
			r.bury(e, &raw[i], err)
			continue
		}
		e.message.SetContext(&e.context)
		e.Message = &e.message
		good = page[:len(good)+1]
	}
	if len(good) == 0 {
		return
	}
	r.mu.Lock()
	if s.tenure != nil && !s.tenure.lasts(tenure, time.Now()) {
		r.mu.Unlock()
		return // They are pending for the next owner, or for the next look at what is.
	}
	s.count(len(good))
	for i := range good {
		r.held.push(&good[i])
		r.queue = append(r.queue, &good[i])
		r.waits(&good[i], +1)
	}
	r.mu.Unlock()
	signal(r.arrived)
}

// copyPayloads returns the payloads one after the other. They are the handlers' to
// change, and so not the strings that retries and dead letters are made of.
func copyPayloads(raw []rawEntry) []byte {
	size := 0
	for i := range raw {
		size += len(raw[i].known.payload)
	}
	all := make([]byte, 0, size)
	for i := range raw {
		all = append(all, raw[i].known.payload...)
	}
	return all
}

// firstAttempt is what Attempt was when the entry was added to its stream.
func (e *entry) firstAttempt() int {
	if n, err := strconv.ParseUint(e.fields.attempt, 10, 31); e.stream.retry && err == nil && n > 0 {
		return int(n)
	}
	return 1
}

// restore sets what a delivery brought along through the delay store.
func (e *entry) restore() {
	e.Attempt = e.firstAttempt()
	if e.fields.origin != "" {
		e.ID = e.fields.origin
	}
	if ms, err := strconv.ParseInt(e.fields.stored, 10, 64); err == nil {
		e.Stored = time.UnixMilli(ms)
	}
}

// splitID reads the two numbers of an entry id, and which of many messages of an
// entry it is of; what is none reads as 0.
func splitID(id string) (ms, seq, item uint64) {
	left, right, _ := strings.Cut(id, "-")
	right, last, _ := strings.Cut(right, "#")
	ms, _ = strconv.ParseUint(left, 10, 64)
	seq, _ = strconv.ParseUint(right, 10, 64)
	if last != "" { // An error would be an allocation for each entry.
		item, _ = strconv.ParseUint(last, 10, 64)
	}
	return ms, seq, item
}

func compareIDs(a, b string) int {
	aMS, aSeq, aItem := splitID(a)
	bMS, bSeq, bItem := splitID(b)
	return cmp.Or(cmp.Compare(aMS, bMS), cmp.Compare(aSeq, bSeq), cmp.Compare(aItem, bItem))
}

// storedAt reads the time that the server puts into an entry's id.
func storedAt(id string) time.Time {
	if ms, _, _ := splitID(id); ms > 0 {
		return time.UnixMilli(int64(ms))
	}
	return time.Time{}
}
