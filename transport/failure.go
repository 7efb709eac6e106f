package transport

import (
	"errors"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// Metadata keys of a dead letter. A transport adds them to the message it
// stores, and the poison queue middleware does where a transport cannot.
const (
	MetadataFailureReason   = "failure_reason"   // the error's text
	MetadataFailureTopic    = "failure_topic"    // the topic the message came from
	MetadataFailureID       = "failure_id"       // the transport's id of it there
	MetadataFailureAttempts = "failure_attempts" // how often it was delivered
	MetadataFailureTime     = "failure_time"     // when it was given up, RFC 3339
	MetadataFailureStored   = "failure_stored"   // when it was first stored, RFC 3339
	MetadataFailureHandler  = "failure_handler"  // the pattern of the handler that failed
	MetadataFailureStack    = "failure_stack"    // where it panicked, if it did
)

// maxStack keeps a stack from making a dead letter larger than the event.
const maxStack = 4 << 10

// FailureMetadata describes why a delivery is given up.
func FailureMetadata(d *Delivery, cause error) message.Metadata {
	md := message.Metadata{
		MetadataFailureReason:   "unknown",
		MetadataFailureTopic:    d.Topic,
		MetadataFailureID:       d.ID,
		MetadataFailureAttempts: strconv.Itoa(d.Attempt),
		MetadataFailureTime:     time.Now().UTC().Format(time.RFC3339Nano),
	}
	if cause != nil {
		md[MetadataFailureReason] = cause.Error()
	}
	if !d.Stored.IsZero() {
		md[MetadataFailureStored] = d.Stored.UTC().Format(time.RFC3339Nano)
	}
	if p, ok := errors.AsType[*events.PanicError](cause); ok {
		md[MetadataFailureStack] = string(p.Stack[:min(len(p.Stack), maxStack)])
	}
	return md
}
