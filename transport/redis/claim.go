package redis

import (
	"strconv"

	"github.com/logistically/events/transport"
)

// claimValue is what a key holds while it is claimed; see begin.lua.
func claimValue(c *transport.Claim) string {
	return textOf(appendClaim(make([]byte, 0, sizeOfClaim(c)), c))
}

func appendClaim(b []byte, c *transport.Claim) []byte {
	b = append(append(b, 'c'), c.Fingerprint...)
	b = append(append(b, ' '), c.Token...)
	b = strconv.AppendInt(append(b, ' '), int64(c.Attempt), 10)
	b = append(b, ' ')
	if c.Holder == "" {
		return b
	}
	return strconv.AppendUint(b, shortOf(c.Holder), 36)
}

// shortOf stands for the name of a holder (FNV-1a). Two names with one number would
// have to be of one event, at the same time.
func shortOf(holder string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(holder) {
		h = (h ^ uint64(holder[i])) * 1099511628211
	}
	return h
}

func sizeOfClaim(c *transport.Claim) int {
	digits := 1
	for n := c.Attempt; n > 9 || n < -9; n /= 10 {
		digits++
	}
	const holder = len("3w5e11264sgsf") // the largest number
	return len("c  - ") + len(c.Fingerprint) + len(c.Token) + digits + holder
}

// markValue is how the value of a mark begins; what was produced follows.
func markValue(c *transport.Claim) string {
	return textOf(appendMark(make([]byte, 0, sizeOfMark(c)), c))
}

func appendMark(b []byte, c *transport.Claim) []byte {
	b = append(append(b, 'd'), c.Fingerprint...)
	b = append(append(b, ' '), c.Token...)
	return append(b, ' ')
}

func sizeOfMark(c *transport.Claim) int { return len("d  ") + len(c.Fingerprint) + len(c.Token) }
