package middleware

import "go.opentelemetry.io/otel/attribute"

// Attributes of OpenTelemetry's semantic conventions for messaging, whose status
// is Development; they are named here only.
const (
	attrSystem        = attribute.Key("messaging.system")
	attrOperationName = attribute.Key("messaging.operation.name")
	attrOperationType = attribute.Key("messaging.operation.type")
	attrDestination   = attribute.Key("messaging.destination.name")
	attrMessageID     = attribute.Key("messaging.message.id")
	attrBodySize      = attribute.Key("messaging.message.body.size")
	attrBatchCount    = attribute.Key("messaging.batch.message_count")
	attrErrorType     = attribute.Key("error.type")

	attrEventType = attribute.Key("events.type")    // ours: low in cardinality
	attrAttempt   = attribute.Key("events.attempt") // ours
)

const systemName = "events"
