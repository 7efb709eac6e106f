package jsontext

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Members calls each with the members of an object, in their order: with the
// name, and with the value as it is written. If data is not one object of valid
// JSON it returns false, and may have called each for what comes before the fault.
func Members(data []byte, each func(name string, value []byte)) bool {
	return RawMembers(data, func(name, value []byte) { each(unquote(name), value) })
}

// RawMembers is [Members] with names as they are written, between their quotes.
func RawMembers(data []byte, each func(name, value []byte)) bool {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return false
	}
	if i = skipSpace(data, i+1); i < len(data) && data[i] == '}' {
		return skipSpace(data, i+1) == len(data)
	}
	for i < len(data) && data[i] == '"' {
		start := i
		end, ok := skipString(data, i+1)
		if !ok {
			return false
		}
		if i = skipSpace(data, end); i >= len(data) || data[i] != ':' {
			return false
		}
		from := skipSpace(data, i+1)
		if i, ok = skipValue(data, from, 1); !ok {
			return false
		}
		each(data[start+1:end-1], data[from:i:i])
		if i = skipSpace(data, i); i < len(data) && data[i] == '}' {
			return skipSpace(data, i+1) == len(data)
		}
		if i >= len(data) || data[i] != ',' {
			return false
		}
		i = skipSpace(data, i+1)
	}
	return false
}

// Elements is [Members] for the elements of an array.
func Elements(data []byte, each func(value []byte)) bool {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '[' {
		return false
	}
	if i = skipSpace(data, i+1); i < len(data) && data[i] == ']' {
		return skipSpace(data, i+1) == len(data)
	}
	for {
		from := skipSpace(data, i)
		var ok bool
		if i, ok = skipValue(data, from, 1); !ok {
			return false
		}
		each(data[from:i:i])
		if i = skipSpace(data, i); i < len(data) && data[i] == ']' {
			return skipSpace(data, i+1) == len(data)
		}
		if i >= len(data) || data[i] != ',' {
			return false
		}
		i++
	}
}

// Text returns the string that a value is, or false if it is none. The value must be
// valid JSON. What is no UTF-8, or half of a surrogate pair, reads as U+FFFD.
func Text(value []byte) (text string, ok bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	return unquote(value[1 : len(value)-1]), true
}

// unquote reads what stands between quotes.
func unquote(data []byte) string {
	i := skipText(data, 0)
	if i == len(data) {
		return strings.ToValidUTF8(string(data), "\uFFFD")
	}
	out := make([]byte, 0, len(data))
	for start := 0; ; i = skipText(data, i) {
		out = append(out, data[start:i]...)
		if i >= len(data) {
			return strings.ToValidUTF8(string(out), "\uFFFD")
		}
		var r rune
		r, i = unescape(data, i)
		out = utf8.AppendRune(out, r) // U+FFFD for a lone surrogate
		start = i
	}
}

// unescape reads the escape sequence that begins at i. A lone surrogate is returned as such.
func unescape(data []byte, i int) (r rune, end int) {
	switch c := data[i+1]; c {
	case 'b':
		return '\b', i + 2
	case 'f':
		return '\f', i + 2
	case 'n':
		return '\n', i + 2
	case 'r':
		return '\r', i + 2
	case 't':
		return '\t', i + 2
	case 'u':
	default:
		return rune(c), i + 2
	}
	r = hex4(data[i+2:])
	i += len(`\u0000`)
	if utf16.IsSurrogate(r) && len(data)-i >= len(`\u0000`) && data[i] == '\\' && data[i+1] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(data[i+2:])); pair != utf8.RuneError {
			return pair, i + len(`\u0000`)
		}
	}
	return r, i
}

func hex4(data []byte) rune {
	n, _ := strconv.ParseUint(string(data[:4]), 16, 16) // skipString has seen to it.
	return rune(n)
}
