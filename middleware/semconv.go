package middleware

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
)

// The OpenTelemetry semantic conventions for messaging are in development and
// their Go packages come one a version. These are the names that we use.
const (
	attrSystem        = attribute.Key("messaging.system")
	attrOperationType = attribute.Key("messaging.operation.type") // process, send
	attrOperationName = attribute.Key("messaging.operation.name") // process, publish
	attrDestination   = attribute.Key("messaging.destination.name")
	attrMessageID     = attribute.Key("messaging.message.id")
	attrBodySize      = attribute.Key("messaging.message.body.size") // bytes
	attrConversation  = attribute.Key("messaging.message.conversation_id")
	attrGroup         = attribute.Key("messaging.consumer.group.name")
	attrBatchCount    = attribute.Key("messaging.batch.message_count")
	attrErrorType     = attribute.Key("error.type")

	// Ours.
	attrEventType = attribute.Key("events.type")
	attrAttempt   = attribute.Key("events.delivery.attempt")
	attrLink      = attribute.Key("events.link") // what a linked span is to this one
	attrOutcome   = attribute.Key("events.outcome")
)

// Metrics of the conventions, and ours. Durations are in seconds.
const (
	metricProcessDuration = "messaging.process.duration"
	metricConsumed        = "messaging.client.consumed.messages"
	metricPublishDuration = "messaging.client.operation.duration"
	metricSent            = "messaging.client.sent.messages"

	// Ours.
	metricInFlight      = "events.process.in_flight"
	metricQueueDuration = "events.queue.duration"
)

// durationBounds are those that the conventions advise for durations of messaging;
// queueBounds go on to a week.
var (
	durationBounds = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	queueBounds    = []float64{0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 6 * 3600, 86400, 7 * 86400}
)

// spanName is "{operation} {destination}", and the operation alone where the
// destination is not known.
func spanName(operation, destination string) string {
	if destination == "" {
		return operation
	}
	return operation + " " + destination
}

func messageAttributes(msg *message.Message) []attribute.KeyValue {
	attrs := []attribute.KeyValue{attrMessageID.String(msg.UUID), attrBodySize.Int(len(msg.Payload))}
	if t := msg.Metadata[events.MetadataType]; t != "" {
		attrs = append(attrs, attrEventType.String(t))
	}
	if id := msg.Metadata[events.MetadataCorrelationID]; id != "" {
		attrs = append(attrs, attrConversation.String(id))
	}
	return attrs
}

// errorType classifies an error in few words, as error.type must: the type of
// the innermost error, or _OTHER if that says nothing.
func errorType(err error) string {
	if _, ok := errors.AsType[*events.PanicError](err); ok {
		return "panic"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	if v, ok := errors.AsType[*events.ValidationError](err); ok {
		err = v
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	switch name := fmt.Sprintf("%T", err); name {
	case "*errors.errorString", "*errors.joinError", "*fmt.wrapErrors", "*fmt.fmtError":
		return "_OTHER"
	default:
		return name
	}
}

// metadataCarrier lets a propagator read and write a message's metadata.
type metadataCarrier struct{ msg *message.Message }

var _ propagation.TextMapCarrier = metadataCarrier{}

func (c metadataCarrier) Get(key string) string { return c.msg.Metadata[key] }

func (c metadataCarrier) Set(key, value string) {
	if c.msg.Metadata == nil {
		c.msg.Metadata = make(message.Metadata, 2)
	}
	c.msg.Metadata[key] = value
}

func (c metadataCarrier) Keys() []string {
	keys := make([]string, 0, len(c.msg.Metadata))
	for k := range c.msg.Metadata {
		keys = append(keys, k)
	}
	return keys
}
