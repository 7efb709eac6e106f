package redis

import (
	"errors"
	"io"
	"slices"
	"time"
)

// pageOfEntries is what one read brings.
type pageOfEntries struct {
	read    time.Time // before the command was sent
	parts   []partOfPage
	stored  int        // how many entries there are
	count   int        // of messages
	bytes   int        // of their payloads
	size    int        // of all their fields
	entries []rawEntry // those that were read as new
	marks   []mark     // of an exclusive receiver: what is read, in which tenures
}

// partOfPage is what a page has of one stream.
type partOfPage struct {
	stream     *stream
	entries    []rawEntry
	deliveries map[string]int64 // how often each was delivered; nil: once
}

func (p *pageOfEntries) add(s *stream, entries []rawEntry) {
	if len(entries) == 0 {
		return
	}
	p.parts = append(p.parts, partOfPage{stream: s, entries: entries})
	p.stored += len(entries)
	for i := range entries {
		count, bytes := entries[i].messages()
		p.count += count
		p.bytes += bytes
		p.size += len(entries[i].all.text)
	}
}

// clear empties a page for the next one, and keeps its memory unless it is large.
func (p *pageOfEntries) clear() {
	const large = 4096
	if cap(p.entries) > large {
		*p = pageOfEntries{marks: p.marks}
		return
	}
	clear(p.entries)
	clear(p.parts)
	*p = pageOfEntries{parts: p.parts[:0], entries: p.entries[:0], marks: p.marks}
}

// replyBuffer is where go-redis writes a reply to. It is kept from reply to reply:
// to find out the size of each by growing a slice costs five times the reply.
type replyBuffer struct{ bytes []byte }

// Write implements io.Writer.
func (b *replyBuffer) Write(p []byte) (int, error) {
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}

// ReadFrom implements io.ReaderFrom, which io.Copy prefers.
func (b *replyBuffer) ReadFrom(src io.Reader) (total int64, err error) {
	for {
		b.bytes = slices.Grow(b.bytes, 1)
		n, err := src.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		total += int64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// reset prepares for the next reply. A buffer that is much larger than the last
// one needed is let go.
func (b *replyBuffer) reset() {
	if cap(b.bytes) > 16*len(b.bytes)+(16<<10) {
		b.bytes = nil
	}
	b.bytes = b.bytes[:0]
}

// reply returns the reply, in memory of its own.
func (b *replyBuffer) reply() reply { return reply{string(b.bytes)} }
