package pack

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"unsafe"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/klauspost/compress/zstd"
	"github.com/logistically/events/internal/hextext"
)

// decoder is shared. It never makes more of a frame than there is room for.
var decoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(mostBlock), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // The options are constants.
	}
	return d
})

// Pack is a pack that was read, and not unpacked. Its strings are parts of what it
// was read from.
type Pack struct {
	Messages int // how many there are
	Bytes    int // of their payloads

	block, text   int
	binary, frame string
}

// Parse reads what a pack says of itself. It costs next to nothing, and believes
// nothing that is more than a Packer writes.
func Parse(s string) (Pack, error) {
	if s == "" {
		return Pack{}, fmt.Errorf("%w: it is empty", ErrPack)
	}
	if s[0] != version {
		return Pack{}, fmt.Errorf("%w: its format is version %d, and this library reads version %d: update it", ErrPack, s[0], version)
	}
	r := reader{in: s[1:]}
	messages, block, bytes, binary, text := r.number(), r.number(), r.number(), r.number(), r.number()
	if r.failed {
		return Pack{}, fmt.Errorf("%w: its head has no five numbers", ErrPack)
	}
	switch {
	case messages < 1 || messages > MostMessages:
		return Pack{}, fmt.Errorf("%w: it says it has %d messages, and may have 1 to %d", ErrPack, messages, MostMessages)
	case block > mostBlock || text > mostBlock:
		return Pack{}, fmt.Errorf("%w: it says it has %d bytes and values of %d bytes, and may have %d", ErrPack, block, text, mostBlock)
	case bytes > block || binary > r.left():
		return Pack{}, fmt.Errorf("%w: its parts are larger than the whole", ErrPack)
	}
	return Pack{Messages: messages, Bytes: bytes, block: block, text: text, binary: r.in[r.at:][:binary], frame: r.in[r.at:][binary:]}, nil
}

// slack is how much more room than a block needs the decoder likes to have: it then
// copies without looking for the end each time.
const slack = 32

// Message is a message that was packed.
type Message struct {
	UUID     string
	Metadata message.Metadata
	Payload  message.Payload
}

// Unpack returns the messages, in the memory of buf if there is enough. Their payloads
// are parts of one array, and the caller's to change, as are their metadata.
func (p Pack) Unpack(buf []Message) ([]Message, error) {
	frame := unsafe.Slice(unsafe.StringData(p.frame), len(p.frame)) // only read
	memory := make([]byte, p.block+slack+p.text)                    // one for both: the collector has less to do
	block, err := decoder().DecodeAll(frame, memory[:0:p.block+slack])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPack, err)
	}
	if len(block) != p.block {
		return nil, fmt.Errorf("%w: it has %d bytes and says %d", ErrPack, len(block), p.block)
	}
	head := block[:len(block)-p.Bytes]
	payloads := block[len(head):]
	u := unpacker{reader: reader{in: unsafe.String(unsafe.SliceData(head), len(head))}, binary: reader{in: p.binary}, text: memory[p.block+slack:][:p.text]}
	if p.Messages > len(head) {
		return nil, errHead
	}
	msgs := slices.Grow(buf[:0], p.Messages)[:p.Messages]
	for i := range msgs {
		size := u.message(&msgs[i])
		if u.failed || size > len(payloads) {
			return nil, fmt.Errorf("%w, of message %d", errHead, i)
		}
		msgs[i].Payload = payloads[:size:size]
		payloads = payloads[size:]
	}
	if left := len(payloads) + u.left() + u.binary.left() + p.text - u.used; left > 0 {
		return nil, fmt.Errorf("%w: %d bytes are left over", ErrPack, left)
	}
	return msgs, nil
}

var errHead = fmt.Errorf("%w: its head is broken", ErrPack)

// unpacker reads the head of a block.
type unpacker struct {
	reader
	binary reader
	text   []byte           // of values that are not in the block as they are
	used   int              // how much of it
	keys   []string         // of the message before
	last   []string         // its values
	before message.Metadata // with these keys and values
}

// message reads a message, without its payload, and returns the size of that.
func (u *unpacker) message(msg *Message) (size int) {
	if n := u.number(); n > 0 {
		u.newKeys(n - 1)
	} else if u.last == nil {
		u.failed = true // There are no keys before the first.
	}
	if u.failed {
		return 0
	}
	u.last[0] = u.value(u.last[0], "")
	if u.before == nil {
		u.before = make(message.Metadata, len(u.keys))
		for _, key := range u.keys {
			u.before[key] = ""
		}
	}
	// A copy, in which only what differs is written, costs less than a map of its own.
	md := maps.Clone(u.before)
	for i, key := range u.keys {
		if u.same() {
			continue
		}
		v := u.value(u.last[1+i], u.last[0])
		u.last[1+i] = v
		md[key] = v
	}
	u.before = md
	msg.UUID, msg.Metadata = u.last[0], md
	return u.number()
}

func (u *unpacker) newKeys(n int) {
	if n > u.left() { // Each has a byte at least.
		u.failed = true
		return
	}
	u.keys, u.last, u.before = make([]string, n), make([]string, 1+n), nil
	for i := range u.keys {
		u.keys[i] = u.cut(u.number())
	}
}

// same reports whether the next value is the one before, and skips it if so.
func (u *unpacker) same() bool {
	if u.left() == 0 || u.in[u.at] != otherSame<<2|kindOther {
		return false
	}
	u.at++
	return true
}

// value reads a value. last is the one before, and id the UUID of the message.
func (u *unpacker) value(last, id string) string {
	number := u.number()
	n := number >> 2
	switch number & 3 {
	case kindText:
		return u.cut(n)
	case kindHex:
		if bytes := u.bytes(n); u.room(2 * len(bytes)) {
			return u.made(hextext.Append(u.free(), bytes))
		}
	case kindPrefix:
		if rest := u.cut(u.number()); n <= len(last) && u.room(n+len(rest)) {
			return u.made(append(append(u.free(), last[:n]...), rest...))
		}
	case kindOther:
		switch n {
		case otherUUID:
			if bytes := u.bytes(16); len(bytes) == 16 && u.room(hextext.UUIDSize) {
				return u.made(hextext.AppendUUID(u.free(), [16]byte(bytes)))
			}
		case otherSame:
			return last
		case otherID:
			return id
		}
	}
	u.failed = true
	return ""
}

// bytes cuts binary data off.
func (u *unpacker) bytes(n int) []byte {
	s := u.binary.cut(n)
	u.failed = u.failed || u.binary.failed
	return unsafe.Slice(unsafe.StringData(s), len(s)) // only read
}

func (u *unpacker) room(n int) bool { return n <= len(u.text)-u.used }

// free returns where text is to be appended to: nothing, with the room that there is.
func (u *unpacker) free() []byte { return u.text[u.used:u.used] }

// made returns what was appended to free, which is then never written again.
func (u *unpacker) made(text []byte) string {
	u.used += len(text)
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// reader reads numbers and strings. After a failure it returns zero values. It counts,
// and moves no pointer: while the collector marks, to write one costs much more.
type reader struct {
	in     string
	at     int
	failed bool
}

func (r *reader) left() int { return len(r.in) - r.at }

func (r *reader) fail() {
	r.failed, r.at = true, len(r.in)
}

// number reads a number, which is below 1<<40.
func (r *reader) number() int {
	if r.at < len(r.in) && r.in[r.at] < 0x80 {
		r.at++
		return int(r.in[r.at-1])
	}
	left := r.in[r.at:]
	v, n := binary.Uvarint(unsafe.Slice(unsafe.StringData(left), min(len(left), binary.MaxVarintLen64)))
	if n <= 0 || v >= 1<<40 {
		r.fail()
		return 0
	}
	r.at += n
	return int(v)
}

// cut reads n bytes.
func (r *reader) cut(n int) string {
	if n > r.left() {
		r.fail()
		return ""
	}
	r.at += n
	return r.in[r.at-n : r.at]
}
