package redis

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Metadata travels as watermill-redisstream writes it: a MessagePack map of
// strings. Reading and writing just that is done here: a general decoder
// believes the lengths that it is told, so that a few bytes of garbage cost
// gigabytes, and costs a fifth of a consumer's processor time.
// https://github.com/msgpack/msgpack/blob/master/spec.md

var errMetadata = errors.New("no MessagePack map of strings")

// appendMetadata appends the encoding of md.
func appendMetadata(b []byte, md message.Metadata) []byte {
	switch n := len(md); {
	case n < 16:
		b = append(b, 0x80|byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xde), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdf), uint32(n))
	}
	for key, value := range md {
		b = appendString(appendString(b, key), value)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	switch n := len(s); {
	case n < 32:
		b = append(b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		b = append(b, 0xd9, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, 0xda), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xdb), uint32(n))
	}
	return append(b, s...)
}

// metadataSize is an upper bound of the encoding's length.
func metadataSize(md message.Metadata) int {
	size := 5
	for key, value := range md {
		size += 10 + len(key) + len(value)
	}
	return size
}

// readMetadata reads the encoding in s, of which the strings are parts.
func readMetadata(s string) (message.Metadata, error) {
	n, s, err := mapHeader(s)
	if err != nil {
		return nil, err
	}
	md := make(message.Metadata, n)
	for range n {
		var key, value string
		if key, s, err = readString(s); err != nil {
			return nil, err
		}
		if value, s, err = readString(s); err != nil {
			return nil, err
		}
		md[key] = value
	}
	return md, nil
}

func mapHeader(s string) (n int, rest string, err error) {
	if s == "" {
		return 0, "", errMetadata
	}
	switch c := s[0]; {
	case c == 0xc0: // nil
		return 0, s[1:], nil
	case c&0xf0 == 0x80:
		n, rest = int(c&0x0f), s[1:]
	case c == 0xde:
		n, rest, err = length(s[1:], 2)
	case c == 0xdf:
		n, rest, err = length(s[1:], 4)
	default:
		err = fmt.Errorf("%w: it begins with the byte %#x", errMetadata, c)
	}
	if err == nil && n > len(rest)/2 { // A key and a value have at least a byte each.
		err = fmt.Errorf("%w: it says it has %d entries and has %d bytes", errMetadata, n, len(rest))
	}
	return n, rest, err
}

func readString(s string) (value, rest string, err error) {
	if s == "" {
		return "", "", fmt.Errorf("%w: it ends too early", errMetadata)
	}
	n := 0
	switch c := s[0]; {
	case c == 0xc0: // nil reads as empty
		return "", s[1:], nil
	case c&0xe0 == 0xa0:
		n, rest = int(c&0x1f), s[1:]
	case c == 0xd9, c == 0xc4: // a string, or bytes
		n, rest, err = length(s[1:], 1)
	case c == 0xda, c == 0xc5:
		n, rest, err = length(s[1:], 2)
	case c == 0xdb, c == 0xc6:
		n, rest, err = length(s[1:], 4)
	default:
		err = fmt.Errorf("%w: a key or value begins with the byte %#x", errMetadata, c)
	}
	if err == nil && n > len(rest) {
		err = fmt.Errorf("%w: it ends too early", errMetadata)
	}
	if err != nil {
		return "", "", err
	}
	return rest[:n], rest[n:], nil
}

// length reads a big-endian number of the given width.
func length(s string, width int) (n int, rest string, err error) {
	if len(s) < width {
		return 0, "", fmt.Errorf("%w: it ends too early", errMetadata)
	}
	for _, c := range []byte(s[:width]) {
		n = n<<8 | int(c)
	}
	return n, s[width:], nil
}
