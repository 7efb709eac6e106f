// Package pack makes one value of many messages, and messages of it again.
//
// A pack begins with the version of its format, one byte, and five numbers (those
// of encoding/binary's Uvarint):
//
//   - how many messages there are,
//   - how many bytes the block has that is compressed,
//   - how many of these, its last ones, are payloads,
//   - how many bytes of binary data come next,
//   - how many bytes the values have that are not in the block as they are.
//
// The binary data follows, which compression would gain nothing of, and the block as
// one frame of Zstandard (RFC 8878), with its checksum.
//
// Before the payloads the block has for each message the keys of its metadata, the
// values (its UUID, then one for each key), and the length of its payload. The keys
// are a 0 if they are those of the message before; or else their number plus one, and
// each of them, with its length before it. A value is a number, whose two lowest bits
// say what it is, and what follows; see the kinds. It refers to the value before of the
// same key, or UUID, which is empty after a change of keys.
package pack

import "errors"

// Limits of what is packed and of what is believed.
const (
	// MostMessages is how many messages a pack has at most.
	MostMessages = 10_000
	// MostBytes is how large the messages of a pack may be, without the last one.
	MostBytes = 16 << 20
	// mostBlock is more than a block of such messages can have.
	mostBlock = 4 * MostBytes
)

const version = 1

// The kinds of a value, by the two lowest bits of its number; n is the rest.
const (
	kindText   = iota // n bytes of text follow
	kindHex           // n bytes of the binary data, in lowercase hex
	kindOther         // by n; see below
	kindPrefix        // the first n bytes of the value before, and text: its length, and then itself
)

// The values of kindOther.
const (
	otherUUID = iota // 16 bytes of the binary data, as a UUID is written
	otherSame        // the value before
	otherID          // the UUID of the message
)

const (
	leastHex    = 32 // a shorter value is as well off as text
	leastPrefix = 4  // of a value before
)

// ErrPack is the error of what is no pack.
var ErrPack = errors.New("not a pack of messages")
