// Package jsontext works on JSON as text: it checks it, takes it apart without
// making values of it, and writes it as JavaScript does.
package jsontext

import (
	"encoding/binary"
	"math/bits"
)

// Valid reports whether data is one JSON value, as json.Valid does, in a
// fraction of its time: most of a large body is text, and of text only what ends
// or escapes is looked at, eight bytes at a time.
func Valid(data []byte) bool {
	i, ok := skipValue(data, skipSpace(data, 0), 0)
	return ok && skipSpace(data, i) == len(data)
}

// mostNesting is how deep arrays and objects may be nested: as deep as
// encoding/json would read them.
const mostNesting = 10_000

// skipValue returns where the value that begins at i ends, and whether it is one.
func skipValue(data []byte, i, depth int) (end int, ok bool) {
	if i >= len(data) {
		return i, false
	}
	switch c := data[i]; c {
	case '"':
		return skipString(data, i+1)
	case '{':
		return skipObject(data, i+1, depth+1)
	case '[':
		return skipArray(data, i+1, depth+1)
	case 't':
		return skipWord(data, i, "true")
	case 'f':
		return skipWord(data, i, "false")
	case 'n':
		return skipWord(data, i, "null")
	}
	return skipNumber(data, i)
}

func skipObject(data []byte, i, depth int) (end int, ok bool) {
	if depth > mostNesting {
		return i, false
	}
	if i = skipSpace(data, i); i < len(data) && data[i] == '}' {
		return i + 1, true
	}
	for i < len(data) && data[i] == '"' {
		if i, ok = skipString(data, i+1); !ok {
			return i, false
		}
		if i = skipSpace(data, i); i >= len(data) || data[i] != ':' {
			return i, false
		}
		if i, ok = skipValue(data, skipSpace(data, i+1), depth); !ok {
			return i, false
		}
		if i = skipSpace(data, i); i < len(data) && data[i] == '}' {
			return i + 1, true
		}
		if i >= len(data) || data[i] != ',' {
			return i, false
		}
		i = skipSpace(data, i+1)
	}
	return i, false
}

func skipArray(data []byte, i, depth int) (end int, ok bool) {
	if depth > mostNesting {
		return i, false
	}
	if i = skipSpace(data, i); i < len(data) && data[i] == ']' {
		return i + 1, true
	}
	for {
		if i, ok = skipValue(data, skipSpace(data, i), depth); !ok {
			return i, false
		}
		if i = skipSpace(data, i); i < len(data) && data[i] == ']' {
			return i + 1, true
		}
		if i >= len(data) || data[i] != ',' {
			return i, false
		}
		i++
	}
}

// skipString begins after the opening quote.
func skipString(data []byte, i int) (end int, ok bool) {
	for {
		if i = skipText(data, i); i >= len(data) {
			return i, false
		}
		switch data[i] {
		case '"':
			return i + 1, true
		case '\\':
			if i++; i >= len(data) {
				return i, false
			}
			switch data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i++
			case 'u':
				if len(data)-i <= 4 || !isHex(data[i+1]) || !isHex(data[i+2]) || !isHex(data[i+3]) || !isHex(data[i+4]) {
					return i, false
				}
				i += 5
			default:
				return i, false
			}
		default: // a control character
			return i, false
		}
	}
}

// skipText returns where the next quote, backslash or control character is.
func skipText(data []byte, i int) int {
	for ; len(data)-i >= 16; i += 16 {
		words := data[i : i+16]
		first, second := marks(binary.LittleEndian.Uint64(words)), marks(binary.LittleEndian.Uint64(words[8:]))
		if first != 0 {
			return i + bits.TrailingZeros64(first)/8
		}
		if second != 0 {
			return i + 8 + bits.TrailingZeros64(second)/8
		}
	}
	for i < len(data) && data[i] >= ' ' && data[i] != '"' && data[i] != '\\' {
		i++
	}
	return i
}

// marks returns bits of which the lowest is that of the first byte of a word that ends
// or escapes text, or 0 if there is none.
// https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord
func marks(x uint64) uint64 {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	low := x ^ ('"'^' ')*ones // Control characters stay below a space, and a quote becomes one.
	slash := x ^ '\\'*ones
	return ((low-(' '+1)*ones)&^low | (slash-ones)&^slash) & highs
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func skipWord(data []byte, i int, word string) (end int, ok bool) {
	end = i + len(word)
	return end, end <= len(data) && string(data[i:end]) == word
}

func skipNumber(data []byte, i int) (end int, ok bool) {
	if data[i] == '-' {
		i++
	}
	whole := skipDigits(data, i)
	if whole == i || data[i] == '0' && whole > i+1 {
		return i, false
	}
	i = whole
	if i < len(data) && data[i] == '.' {
		fraction := skipDigits(data, i+1)
		if fraction == i+1 {
			return i, false
		}
		i = fraction
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		exponent := skipDigits(data, i)
		if exponent == i {
			return i, false
		}
		i = exponent
	}
	return i, true
}

func skipDigits(data []byte, i int) int {
	for i < len(data) && isDigit(data[i]) {
		i++
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}
