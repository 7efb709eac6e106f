package pack

import "slices"

// digits has the value of each lowercase hex digit, and 0xff of other bytes.
var digits = func() (table [256]byte) {
	for i := range table {
		table[i] = 0xff
	}
	for i := range 16 {
		table["0123456789abcdef"[i]] = byte(i)
	}
	return table
}()

// appendHex appends the bytes that s is the lowercase hex of; false if it is none.
func appendHex(b []byte, s string) ([]byte, bool) {
	start, n := len(b), len(s)/2
	if len(s)%2 == 1 {
		return b, false
	}
	b = slices.Grow(b, n)[:start+n]
	bad := byte(0)
	for i := range b[start:] {
		high, low := digits[s[2*i]], digits[s[2*i+1]]
		bad |= high | low
		b[start+i] = high<<4 | low
	}
	if bad > 0x0f {
		return b[:start], false
	}
	return b, true
}

// appendUUID appends the 16 bytes of a UUID; false if s is none, or not written
// as RFC 9562 does.
func appendUUID(b []byte, s string) ([]byte, bool) {
	if len(s) != uuidSize || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return b, false
	}
	start, ok := len(b), true
	for _, part := range [...]string{s[:8], s[9:13], s[14:18], s[19:23], s[24:]} {
		if b, ok = appendHex(b, part); !ok {
			return b[:start], false
		}
	}
	return b, true
}
