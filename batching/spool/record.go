package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/ThreeDotsLabs/watermill/message"
)

// A record is a head and a body. The head is a mark, the length of the body, the
// CRC-32C of both, and the CRC-32C of the body, all numbers little-endian; the body is topic, UUID, metadata, payload and, if it was rejected, why. Strings
// have their lengths before them. The mark is there to find the next record after
// one that is damaged.
type record struct {
	topic  string
	msg    *message.Message
	reason string
}

var (
	mark       = []byte{0xE5, 'v', 's', 0x9D}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	errRecord  = errors.New("spool: no record")
)

const headSize = 4 + 4 + 4 + 4

// appendRecord adds a record to b.
func appendRecord(b []byte, r record) []byte {
	start := len(b)
	b = append(b, mark...)
	b = append(b, make([]byte, headSize-len(mark))...)
	b = appendText(b, r.topic)
	b = appendText(b, r.msg.UUID)
	b = binary.AppendUvarint(b, uint64(len(r.msg.Metadata)))
	for key, value := range r.msg.Metadata {
		b = appendText(appendText(b, key), value)
	}
	b = appendText(b, string(r.msg.Payload))
	b = appendText(b, r.reason)
	head, body := b[start:start+headSize], b[start+headSize:]
	binary.LittleEndian.PutUint32(head[4:], uint32(len(body)))
	binary.LittleEndian.PutUint32(head[8:], crc32.Checksum(head[:8], castagnoli))
	binary.LittleEndian.PutUint32(head[12:], crc32.Checksum(body, castagnoli))
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// headOf returns the length of the body of the record that b starts with, if its
// head is good.
func headOf(b []byte) (n int, ok bool) {
	if len(b) < headSize || !bytes.Equal(b[:4], mark) || crc32.Checksum(b[:8], castagnoli) != binary.LittleEndian.Uint32(b[8:]) {
		return 0, false
	}
	return int(binary.LittleEndian.Uint32(b[4:])), true
}

// torn reports whether b is what a crash leaves of a record.
func torn(b []byte) bool {
	if len(b) < headSize {
		return bytes.HasPrefix(mark, b[:min(len(b), len(mark))])
	}
	n, ok := headOf(b)
	return ok && n > len(b)-headSize
}

// readRecord returns the record at the start of b and its size.
func readRecord(b []byte) (r record, size int, err error) {
	n, ok := headOf(b)
	if !ok || n > len(b)-headSize {
		return r, 0, errRecord
	}
	body := b[headSize : headSize+n]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
		return r, 0, errRecord
	}
	f := fields{rest: body}
	r.topic = f.text()
	uuid := f.text()
	metadata := message.Metadata{}
	for range f.number() {
		if f.bad {
			break
		}
		key := f.text()
		metadata[key] = f.text()
	}
	payload := []byte(f.text())
	r.reason = f.text()
	if f.bad || len(f.rest) > 0 {
		return r, 0, errRecord
	}
	r.msg = message.NewMessage(uuid, payload)
	r.msg.Metadata = metadata
	return r, headSize + n, nil
}

// fields reads a body.
type fields struct {
	rest []byte
	bad  bool
}

func (f *fields) number() uint64 {
	n, size := binary.Uvarint(f.rest)
	if size <= 0 {
		f.bad, f.rest = true, nil
		return 0
	}
	f.rest = f.rest[size:]
	return n
}

func (f *fields) text() string {
	n := f.number()
	if n > uint64(len(f.rest)) {
		f.bad, f.rest = true, nil
		return ""
	}
	s := string(f.rest[:n])
	f.rest = f.rest[n:]
	return s
}

// next returns the first record in b, and how many bytes before it are none. If
// there is no record, skipped is all of b.
func next(b []byte) (r record, skipped, size int, ok bool) {
	for at := 0; at < len(b); at++ {
		r, size, err := readRecord(b[at:])
		if err == nil {
			return r, at, size, true
		}
		found := bytes.Index(b[at+1:], mark)
		if found < 0 {
			break
		}
		at += found
	}
	return record{}, len(b), 0, false
}
