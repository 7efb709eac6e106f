package redis

import "errors"

// ErrNoEnvelope says that a message cannot be written in an [EnvelopeFormat]: it has
// no header, or a body that is no JSON, or one with a number that JavaScript would
// change. Nothing is published then.
var ErrNoEnvelope = errors.New("the message cannot be an envelope")

// What may be wrong with an entry. Such entries go to the dead letters as they are,
// and these errors say why, in their reason; [Decode] returns them.
var (
	// ErrUnknownFormat: it has neither the fields of watermill-redisstream nor an envelope.
	ErrUnknownFormat = errors.New("not a message")
	// ErrEnvelopeJSON: what should be an envelope is no JSON, or not an object.
	ErrEnvelopeJSON = errors.New("the envelope is no JSON object")
	// ErrEnvelopeHeader: there is no header, or one of its members is missing or no string.
	ErrEnvelopeHeader = errors.New("the envelope has a broken header")
	// ErrEnvelopeBody: there is no body. A body may be null.
	ErrEnvelopeBody = errors.New("the envelope has no body")
	// ErrEnvelopeVersion: the version is none of [EnvelopePolicy.Versions].
	ErrEnvelopeVersion = errors.New("the envelope is of an unknown version")
	// ErrEnvelopeHash: the hash is another body's, and [EnvelopePolicy.RefuseWrongHash] is set.
	ErrEnvelopeHash = errors.New("the envelope has the hash of another body")
	// ErrEnvelopeBatch: it should be a batch of events, and has no list of them. What is
	// wrong with one event of a batch is one of the others, and concerns that event alone.
	ErrEnvelopeBatch = errors.New("the batch cannot be taken apart")
)

// EnvelopePolicy says what becomes of envelopes that can be read and may all the same
// not be what they should be.
type EnvelopePolicy struct {
	// Versions are the header versions that are taken; an envelope of another one goes to the
	// dead letters (ErrEnvelopeVersion). Nil takes all: events.MetadataVersion has
	// the version, for handlers and upcasters.
	Versions []string
	// RefuseWrongHash sends envelopes whose hash is not their body's to the dead letters
	// (ErrEnvelopeHash). Unset, they are delivered: events.MetadataHash has the body's
	// hash, by which duplicates are found, and [MetadataHashGiven] the other one. The
	// TypeScript library never looks.
	RefuseWrongHash bool
}
