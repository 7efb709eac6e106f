package events

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/logistically/events/internal/hextext"
)

// The text of a message is its id, a UUIDv7, and its hash.
const (
	idSize   = hextext.UUIDSize
	textSize = idSize + 2*sha256.Size
)

// textOf makes the text of a message with such a body, published at such a time, and
// that of the time behind it.
func textOf(now time.Time, body []byte) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	var room [textSize + len(time.RFC3339Nano)]byte
	text := appendText(room[:0], id, body)
	return string(now.AppendFormat(text, time.RFC3339Nano)), nil // as timeText does
}

// together is of how many messages the texts are made together.
const together = 64

// textsOf makes the texts of messages with such bodies, one after the other.
func textsOf(bodies [][]byte) (string, error) {
	var entropy [together * len(uuid.UUID{})]byte
	_, _ = rand.Read(entropy[:len(bodies)*len(uuid.UUID{})]) // It never fails.
	random := bytes.NewReader(entropy[:])
	var room [together * textSize]byte
	texts := room[:0]
	for _, body := range bodies {
		id, err := uuid.NewV7FromReader(random)
		if err != nil {
			return "", fmt.Errorf("make an id: %w", err)
		}
		texts = appendText(texts, id, body)
	}
	return string(texts), nil
}

// appendText appends an id, and the hash of a body as [Hash] has it.
func appendText(b []byte, id uuid.UUID, body []byte) []byte {
	b = hextext.AppendUUID(b, id)
	sum := sha256.Sum256(body)
	return hextext.Append(b, sum[:])
}
