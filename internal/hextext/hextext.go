// Package hextext writes and reads lowercase hex and UUIDs, eight digits at a
// time: ids and hashes are most of what an event has beside its body.
package hextext

import (
	"encoding/binary"
	"slices"
)

// UUIDSize is the length of a UUID as RFC 9562 writes it.
const UUIDSize = 36

// ones, times a byte, is a word that has it eight times.
const ones = 0x0101010101010101

// digits returns the eight digits of a number; the first is in the highest byte.
func digits(n uint32) uint64 {
	x := uint64(n)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff
	x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
	return text(x)
}

// text makes digits of the numbers that the bytes of a word are.
func text(x uint64) uint64 {
	letters := (x + 6*ones) >> 4 & ones // 1 where a number is ten or more
	return x + '0'*ones + letters*('a'-10-'0')
}

// number returns the number that eight digits are.
func number(x uint64) (n uint32, ok bool) {
	v := x&(0x0f*ones) + x>>6&ones*9 // What has this bit can only be a letter.
	ok = v&(0xf0*ones) == 0 && text(v) == x
	v = (v | v>>4) & 0x00ff00ff00ff00ff
	v = (v | v>>8) & 0x0000ffff0000ffff
	return uint32(v | v>>16), ok
}

// Append appends the hex of src.
func Append(b, src []byte) []byte {
	start := len(b)
	b = slices.Grow(b, 2*len(src))[:start+2*len(src)]
	out := b[start:]
	for len(src) >= 8 && len(out) >= 16 {
		x := binary.BigEndian.Uint64(src)
		binary.BigEndian.PutUint64(out, digits(uint32(x>>32)))
		binary.BigEndian.PutUint64(out[8:], digits(uint32(x)))
		src, out = src[8:], out[16:]
	}
	for i, c := range src {
		binary.BigEndian.PutUint16(out[2*i:], uint16(digits(uint32(c))))
	}
	return b
}

// AppendUUID appends the text of a UUID.
func AppendUUID(b []byte, id [16]byte) []byte {
	first, second := digits(binary.BigEndian.Uint32(id[:4])), digits(binary.BigEndian.Uint32(id[4:8]))
	third, last := digits(binary.BigEndian.Uint32(id[8:12])), digits(binary.BigEndian.Uint32(id[12:]))
	var text [UUIDSize]byte
	binary.BigEndian.PutUint64(text[:], first)
	text[8] = '-'
	binary.BigEndian.PutUint32(text[9:], uint32(second>>32))
	text[13] = '-'
	binary.BigEndian.PutUint32(text[14:], uint32(second))
	text[18] = '-'
	binary.BigEndian.PutUint32(text[19:], uint32(third>>32))
	text[23] = '-'
	binary.BigEndian.PutUint32(text[24:], uint32(third))
	binary.BigEndian.PutUint64(text[28:], last)
	return append(b, text[:]...)
}

// Decode appends the bytes that s is the lowercase hex of. If it is none, it appends
// nothing and returns false.
func Decode(b []byte, s string) ([]byte, bool) {
	if len(s)%2 == 1 {
		return b, false
	}
	start, good := len(b), true
	b = slices.Grow(b, len(s)/2)[:start+len(s)/2]
	out := b[start:]
	for len(s) >= 16 && len(out) >= 8 {
		high, ok := number(word(s))
		low, ok2 := number(word(s[8:]))
		good = good && ok && ok2
		binary.BigEndian.PutUint64(out, uint64(high)<<32|uint64(low))
		s, out = s[16:], out[8:]
	}
	for len(s) > 0 {
		n, ok := number('0'*ones&^0xffff | uint64(s[0])<<8 | uint64(s[1]))
		good = good && ok
		out[0] = byte(n)
		s, out = s[2:], out[1:]
	}
	if !good {
		return b[:start], false
	}
	return b, true
}

// DecodeUUID appends the bytes of a UUID. If s is none, or not written as RFC 9562
// does, it appends nothing and returns false.
func DecodeUUID(b []byte, s string) ([]byte, bool) {
	if len(s) != UUIDSize || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return b, false
	}
	first, ok1 := number(word(s))
	second, ok2 := number(word(s[9:])&^0xffffffff | word(s[14:])>>32)
	third, ok3 := number(word(s[19:])&^0xffffffff | word(s[24:])>>32)
	last, ok4 := number(word(s[28:]))
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return b, false
	}
	b = binary.BigEndian.AppendUint32(b, first)
	b = binary.BigEndian.AppendUint32(b, second)
	b = binary.BigEndian.AppendUint32(b, third)
	return binary.BigEndian.AppendUint32(b, last), true
}

// word returns the first eight bytes of s, the first of them as the highest.
func word(s string) uint64 {
	_ = s[7]
	return uint64(s[0])<<56 | uint64(s[1])<<48 | uint64(s[2])<<40 | uint64(s[3])<<32 |
		uint64(s[4])<<24 | uint64(s[5])<<16 | uint64(s[6])<<8 | uint64(s[7])
}
