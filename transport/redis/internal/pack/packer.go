package pack

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/klauspost/compress/zstd"
	"github.com/logistically/events/internal/hextext"
)

// encoder is shared: EncodeAll may be called concurrently, and keeps what it needs.
var encoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic(err) // The options are constants.
	}
	return e
})

// Packer makes packs. The zero value is ready. One that is kept allocates nothing
// but the packs that it returns.
type Packer struct {
	msgs   []*message.Message
	block  []byte // what is compressed, without the payloads
	binary []byte
	text   int // bytes of values that are not in block as they are
	bytes  int // of payloads
	out    []byte

	keys []string // of the message before
	last []string // its values: its UUID, and one for each key
	// Of the message that is added:
	newKeys, values []string
}

// Len returns how many messages have been added.
func (p *Packer) Len() int { return len(p.msgs) }

// Size returns how many bytes they have, about, before they are compressed.
func (p *Packer) Size() int { return len(p.block) + len(p.binary) + p.bytes }

// Add adds a message, which must not change until Pack has returned. It adds
// nothing and returns false if the message is larger than most bytes, of at
// most MostBytes.
func (p *Packer) Add(msg *message.Message, most int) bool {
	same, size := p.collect(msg)
	if size > most {
		return false
	}
	if same {
		p.block = append(p.block, 0)
	} else {
		p.keys, p.newKeys = p.newKeys, p.keys
		p.last = append(p.last[:0], make([]string, len(p.values))...)
		p.block = binary.AppendUvarint(p.block, uint64(len(p.keys)+1))
		for _, key := range p.keys {
			p.block = appendText(p.block, key)
		}
	}
	p.uuid(msg.UUID)
	for i, v := range p.values[1:] {
		p.value(v, p.last[1+i], msg.UUID)
	}
	p.block = binary.AppendUvarint(p.block, uint64(len(msg.Payload)))
	p.last, p.values = p.values, p.last
	p.msgs = append(p.msgs, msg)
	p.bytes += len(msg.Payload)
	return true
}

// collect takes the values of a message, and its keys unless they are those of the
// message before. It returns the size of all of it.
func (p *Packer) collect(msg *message.Message) (same bool, size int) {
	size = len(msg.UUID) + len(msg.Payload)
	if len(p.msgs) > 0 && len(msg.Metadata) == len(p.keys) {
		p.values = append(p.values[:0], msg.UUID)
		for _, key := range p.keys {
			if v, ok := msg.Metadata[key]; ok {
				p.values = append(p.values, v)
				size += len(v)
			}
		}
		if len(p.values) == 1+len(p.keys) {
			return true, size
		}
	}
	size = len(msg.UUID) + len(msg.Payload)
	p.values, p.newKeys = append(p.values[:0], msg.UUID), p.newKeys[:0]
	for key, v := range msg.Metadata {
		p.newKeys, p.values = append(p.newKeys, key), append(p.values, v)
		size += len(key) + len(v) + 2
	}
	return false, size
}

func (p *Packer) uuid(id string) { p.value(id, p.last[0], "") }

// value appends a value as what takes least. last is the one before, and id the
// message's UUID.
func (p *Packer) value(v, last, id string) {
	ok := false
	switch {
	case v == last && v != "":
		p.kind(otherSame, kindOther)
		return
	case v == id && v != "":
		p.kind(otherID, kindOther)
		return
	case len(v) == hextext.UUIDSize:
		if p.binary, ok = hextext.DecodeUUID(p.binary, v); ok {
			p.kind(otherUUID, kindOther)
			p.text += len(v)
			return
		}
	case len(v) >= leastHex:
		if p.binary, ok = hextext.Decode(p.binary, v); ok {
			p.kind(len(v)/2, kindHex)
			p.text += len(v)
			return
		}
	}
	if n := shared(v, last); n >= leastPrefix {
		p.kind(n, kindPrefix)
		p.block = appendText(p.block, v[n:])
		p.text += len(v)
		return
	}
	p.kind(len(v), kindText)
	p.block = append(p.block, v...)
}

func (p *Packer) kind(n, kind int) { p.block = binary.AppendUvarint(p.block, uint64(n<<2|kind)) }

// shared returns how many bytes two strings begin with in common.
func shared(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Pack returns the messages that have been added, at least one, as a pack, and
// forgets them.
func (p *Packer) Pack() []byte {
	p.out = append(p.out[:0], version)
	for _, n := range [...]int{len(p.msgs), len(p.block) + p.bytes, p.bytes, len(p.binary), p.text} {
		p.out = binary.AppendUvarint(p.out, uint64(n))
	}
	p.out = append(p.out, p.binary...)
	p.block = slices.Grow(p.block, p.bytes)
	for _, msg := range p.msgs {
		p.block = append(p.block, msg.Payload...)
	}
	p.out = encoder().EncodeAll(p.block, p.out)
	packed := slices.Clone(p.out)
	p.Reset()
	return packed
}

// Reset forgets the messages that have been added. It keeps memory, unless that is
// large.
func (p *Packer) Reset() {
	const large = 4 << 20
	if cap(p.block)+cap(p.out) > large {
		*p = Packer{}
		return
	}
	clear(p.msgs)
	clear(p.keys)
	clear(p.last)
	clear(p.newKeys)
	clear(p.values)
	p.msgs, p.block, p.binary, p.text, p.bytes = p.msgs[:0], p.block[:0], p.binary[:0], 0, 0
}
