package events

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/logistically/events/internal/hextext"
)

// The text of a message is its id and its hash.
const (
	idSize   = hextext.UUIDSize
	textSize = idSize + 2*sha256.Size
)

// lastTick is when the last id was made: milliseconds since 1970, and 12 bits of the
// next one's part.
var lastTick atomic.Int64

// ticks takes times for n ids, of which it returns the first; the others follow.
// They are later than those of any call before, and run ahead of the clock if need be.
func ticks(now time.Time, n int) int64 {
	micro := now.UnixMicro()
	tick := micro/1000<<12 | micro%1000<<12/1000
	for {
		last := lastTick.Load()
		first := max(tick, last+1)
		if lastTick.CompareAndSwap(last, first+int64(n)-1) {
			return first
		}
	}
}

// appendID appends a UUIDv7 (RFC 9562, 6.2 method 3): the time, with the version in
// between, and 62 bits that are random.
func appendID(b []byte, tick int64, random []byte) []byte {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], uint64(tick)>>12<<16|7<<12|uint64(tick)&0xfff)
	copy(id[8:], random)
	id[8] = id[8]&0x3f | 0x80
	return hextext.AppendUUID(b, id)
}

const randomSize = 8

// textOf makes the text of a message with such a body, published at such a time, and
// that of the time behind it.
func textOf(now time.Time, body []byte) string {
	var random [randomSize]byte
	_, _ = rand.Read(random[:]) // It never fails.
	var room [textSize + len(time.RFC3339Nano)]byte
	text := appendText(room[:0], ticks(now, 1), random[:], body)
	return string(now.AppendFormat(text, time.RFC3339Nano)) // as timeText does
}

// together is of how many messages the texts are made together.
const together = 64

// textsOf makes the texts of messages with such bodies, one after the other.
func textsOf(now time.Time, bodies [][]byte) string {
	var random [together * randomSize]byte
	_, _ = rand.Read(random[:len(bodies)*randomSize]) // It never fails.
	var room [together * textSize]byte
	texts, tick := room[:0], ticks(now, len(bodies))
	for i, body := range bodies {
		texts = appendText(texts, tick+int64(i), random[i*randomSize:][:randomSize], body)
	}
	return string(texts)
}

// appendText appends an id, and the hash of a body as [Hash] has it.
func appendText(b []byte, tick int64, random, body []byte) []byte {
	b = appendID(b, tick, random)
	sum := sha256.Sum256(body)
	return hextext.Append(b, sum[:])
}
