package redis

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/jsontext"
	"github.com/logistically/events/internal/nilcheck"
	goredis "github.com/redis/go-redis/v9"
)

// Metadata keys of what envelopes say beside the members of an events.Header. A
// message that has them is written with them again, whatever its EnvelopeFormat says.
const (
	// MetadataNamespace is what stands before the event type in an envelope of version 2.
	MetadataNamespace = "event_namespace"
	// MetadataOriginPrefix is the member originPrefix of an envelope of version 3.
	MetadataOriginPrefix = "event_origin_prefix"
	// MetadataHashGiven is the hash that came with an envelope, where that is not the
	// hash of its body. events.MetadataHash has that one.
	MetadataHashGiven = "event_hash_given"
)

// Format is how a [Publisher] writes messages: an [EnvelopeFormat], or nil for the
// format of watermill-redisstream. A [Subscriber] reads both, entry by entry.
type Format interface {
	check() error
	command(topic string, msg *message.Message) (*goredis.StringCmd, error)
}

// EnvelopeFormat writes entries as the TypeScript library @logistically/events does,
// byte for byte, for services that still run it: docs/TYPESCRIPT.md. Events need what
// events.Publisher gives them, and a body that is JSON; it is written as JSON.stringify
// writes it. What the format has no place for, such as a correlation id, travels in a
// field of its own, which that library does not read.
type EnvelopeFormat struct {
	// Version is the major version of the library: 2 or 3. Zero means 2.
	Version int
	// Namespace stands before the event type in envelopes of version 2, with a dot
	// (its option eventNamespace). Empty means the event's origin, as there.
	Namespace string
	// Prefix stands before the type in the pattern of version 2, which its consumers do
	// not read (the prefix of a route).
	Prefix string
	// OriginPrefix is a region or organisation, such as "eu.de", in version 3. Empty
	// means none.
	OriginPrefix string
}

const (
	fieldData = "data" // of the entries of that library
	// fieldMore is the metadata of an envelope that it has no place for, as fieldMetadata has it.
	fieldMore = "_events_metadata"

	streamPrefix = "stream:" // of version 3
	timeFormat   = "2006-01-02T15:04:05.000Z"
)

// Topic names the topic of an event type as the library does: "user-events" for
// "user.created" in version 2, "stream:user-events" in version 3. It is for
// events.PublisherConfig.Topic.
func (f EnvelopeFormat) Topic(eventType string) string {
	if f.Version == 3 {
		return streamPrefix + strings.ToLower(events.DefaultTopic(eventType))
	}
	return events.DefaultTopic(eventType)
}

func (f EnvelopeFormat) check() error {
	bad := func(field string, value any, problem, remedy string) error {
		return &events.ConfigError{Field: "redis.EnvelopeFormat." + field, Value: value, Problem: problem, Remedy: remedy}
	}
	switch three := f.Version == 3; {
	case f.Version != 0 && f.Version != 2 && !three:
		return bad("Version", f.Version, "is no version", "use 2 or 3, or 0 for 2")
	case f.Namespace != "" && events.CheckType(f.Namespace) != nil:
		return bad("Namespace", f.Namespace, "is no namespace", `use segments separated by dots, such as "billing"`)
	case three && f.Namespace != "":
		return bad("Namespace", f.Namespace, "is set for version 3, which has none", "leave it empty")
	case three && f.Prefix != "":
		return bad("Prefix", f.Prefix, "is set for version 3, which has no pattern", "leave it empty")
	case !three && f.OriginPrefix != "":
		return bad("OriginPrefix", f.OriginPrefix, "is set for version 2, which has none", "leave it empty, or use version 3")
	}
	return nil
}

// checkFormat refuses formats that cannot work.
func (cfg *PublisherConfig) checkFormat() error {
	bad := func(value any, problem, remedy string) error {
		return &events.ConfigError{Field: "redis.PublisherConfig.Format", Value: value, Problem: problem, Remedy: remedy}
	}
	switch {
	case cfg.Format == nil:
		return nil
	case nilcheck.IsNil(cfg.Format):
		return bad(nil, "is a nil pointer", "leave it out, or set it to a redis.EnvelopeFormat")
	case cfg.Pack != nil:
		return bad(cfg.Format, "is set beside Pack, which writes a format of its own", "set one of the two")
	}
	return cfg.Format.check()
}

// Encode returns the fields and values of a message's stream entry. The error wraps
// [ErrNoEnvelope] if the message cannot be one.
func (f EnvelopeFormat) Encode(topic string, msg *message.Message) ([]any, error) {
	return f.encode(topic, msg, time.Now())
}

func (f EnvelopeFormat) command(topic string, msg *message.Message) (*goredis.StringCmd, error) {
	fields, err := f.Encode(topic, msg)
	if err != nil {
		return nil, err
	}
	return goredis.NewStringCmd(msg.Context(), append([]any{"xadd", topic, "*"}, fields...)...), nil
}

func (f EnvelopeFormat) encode(topic string, msg *message.Message, now time.Time) ([]any, error) {
	if err := check(msg); err != nil {
		return nil, err
	}
	body, err := bodyOf(msg)
	if err != nil {
		return nil, err
	}
	data := make([]byte, 0, len(body)+512)
	fields := []any{fieldData, nil}
	if f.Version == 3 {
		data = f.appendEnvelope(data, msg, body, now)
		fields = append(fields, "timestamp", strconv.FormatInt(now.UnixMilli(), 10), "topic", strings.TrimPrefix(topic, streamPrefix))
	} else {
		data = append(data, `{"pattern":`...)
		data = jsontext.AppendText(data, f.Prefix+msg.Metadata[events.MetadataType])
		data = append(data, `,"data":`...)
		data = f.appendEnvelope(data, msg, body, now)
		data = append(data, '}')
	}
	fields[1] = data
	if more := moreOf(msg); len(more) > 0 {
		fields = append(fields, fieldMore, appendMetadata(nil, more))
	}
	return fields, nil
}

// bodyOf returns the body of a message as JSON.stringify writes it.
func bodyOf(msg *message.Message) ([]byte, error) {
	missing := ""
	switch {
	case msg.UUID == "":
		missing = "UUID"
	case msg.Metadata[events.MetadataType] == "":
		missing = "event type"
	case msg.Metadata[events.MetadataOrigin] == "":
		missing = "origin"
	}
	if missing != "" {
		return nil, fmt.Errorf("%w: it has no %s: publish it by an events.Publisher", ErrNoEnvelope, missing)
	}
	body, err := jsontext.Stringify(make([]byte, 0, len(msg.Payload)), msg.Payload)
	if err != nil {
		return nil, fmt.Errorf("%w: its body has %w", ErrNoEnvelope, err)
	}
	return body, nil
}

// appendEnvelope appends the envelope of a message whose body is written already.
func (f EnvelopeFormat) appendEnvelope(b []byte, msg *message.Message, body []byte, now time.Time) []byte {
	h := events.HeaderOf(msg)
	if h.Time.IsZero() {
		h.Time = now
	}
	if h.Version == "" {
		h.Version = events.DefaultVersion
	}
	member := func(name, value string) {
		b = append(b, name...)
		b = jsontext.AppendText(b, value)
	}
	member(`{"header":{"id":`, h.ID)
	member(`,"type":`, f.qualified(msg, h))
	member(`,"origin":`, h.Origin)
	if prefix, ok := msg.Metadata[MetadataOriginPrefix]; f.Version == 3 && (ok || f.OriginPrefix != "") {
		if !ok {
			prefix = f.OriginPrefix
		}
		member(`,"originPrefix":`, prefix)
	}
	member(`,"timestamp":`, h.Time.UTC().Format(timeFormat))
	member(`,"hash":`, events.Hash(body))
	member(`,"version":`, h.Version)
	b = append(b, `},"body":`...)
	b = append(b, body...)
	return append(b, '}')
}

// qualified returns the event type as an envelope has it.
func (f EnvelopeFormat) qualified(msg *message.Message, h events.Header) string {
	if f.Version == 3 {
		return h.Type
	}
	namespace := msg.Metadata[MetadataNamespace]
	if namespace == "" {
		namespace = f.Namespace
	}
	if namespace == "" {
		namespace = h.Origin
	}
	return namespace + "." + h.Type
}

// moreOf returns the metadata that an envelope has no place for. That an event is its
// own correlation goes without saying.
func moreOf(msg *message.Message) message.Metadata {
	more := message.Metadata{}
	for key, value := range msg.Metadata {
		switch key {
		case events.MetadataType, events.MetadataOrigin, events.MetadataTime, events.MetadataHash, events.MetadataVersion,
			MetadataNamespace, MetadataOriginPrefix, MetadataHashGiven:
		case events.MetadataCorrelationID:
			if value != msg.UUID {
				more[key] = value
			}
		default:
			more[key] = value
		}
	}
	return more
}

// EncodeBatch returns the fields and values of one entry that has several messages,
// as the library's BatchedEventPublisher writes it (version 2, to the topic
// typePrefix + "events"), or its publishBatch (version 3). A Subscriber makes single
// deliveries of it; consumers of that library do not read it as it is, and there is no
// place for what envelopes have none for. Publishing many messages in one call needs no
// such entry: it takes one round trip anyway.
func (f EnvelopeFormat) EncodeBatch(topic string, msgs ...*message.Message) ([]any, error) {
	var random [sha256.Size]byte
	_, _ = rand.Read(random[:]) // It never fails.
	return f.encodeBatch(topic, msgs, hex.EncodeToString(random[:]), time.Now())
}

func (f EnvelopeFormat) encodeBatch(topic string, msgs []*message.Message, id string, now time.Time) ([]any, error) {
	var items []byte
	for i, msg := range msgs {
		err := check(msg)
		var body []byte
		if err == nil {
			body, err = bodyOf(msg)
		}
		if err != nil {
			return nil, fmt.Errorf("message %d of %d: %w", i+1, len(msgs), err)
		}
		if i > 0 {
			items = append(items, ',')
		}
		items = f.appendItem(items, msg, body, now)
	}
	count, ms := strconv.Itoa(len(msgs)), strconv.FormatInt(now.UnixMilli(), 10)
	if f.Version == 3 {
		name := strings.TrimPrefix(topic, streamPrefix)
		data := append([]byte(`{"data":[`), items...)
		data = append(data, `],"metadata":{"batch":true,"count":`+count+`,"timestamp":`+ms+`,"topic":`...)
		data = append(jsontext.AppendText(data, name), "}}"...)
		return []any{fieldData, data, "timestamp", ms, "topic", name, "batch", "true", "count", count}, nil
	}
	kind := jsontext.AppendText(nil, strings.TrimSuffix(topic, "events")+"batch")
	data := append([]byte(`{"pattern":`), kind...)
	data = append(data, `,"data":{"header":{"type":`...)
	data = append(data, kind...)
	data = append(data, `,"messageCount":`+count+`,"batchId":"`+id+`","timestamp":"`+now.UTC().Format(timeFormat)+`"},"body":{"messages":[`...)
	data = append(data, items...)
	return []any{fieldData, append(data, "]}}}"...)}, nil
}

// appendItem appends a message as a batch has it.
func (f EnvelopeFormat) appendItem(b []byte, msg *message.Message, body []byte, now time.Time) []byte {
	if f.Version == 3 {
		return f.appendEnvelope(b, msg, body, now)
	}
	h := events.HeaderOf(msg)
	if h.Time.IsZero() {
		h.Time = now
	}
	b = append(b, `{"eventType":`...)
	b = jsontext.AppendText(b, h.Type)
	b = append(b, `,"body":`...)
	b = append(b, body...)
	b = append(b, `,"originalId":`...)
	b = jsontext.AppendText(b, h.ID)
	b = append(b, `,"timestamp":`...)
	b = jsontext.AppendText(b, h.Time.UTC().Format(timeFormat))
	b = append(b, `,"envelope":`...)
	return append(f.appendEnvelope(b, msg, body, now), '}')
}
