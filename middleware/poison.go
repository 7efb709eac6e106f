package middleware

import (
	"context"
	"errors"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
	"github.com/logistically/events/transport"
)

// DefaultMaxDeliveries is the default of [PoisonConfig.MaxDeliveries].
const DefaultMaxDeliveries = 25

// PoisonConfig configures [PoisonQueue].
type PoisonConfig struct {
	// Publisher and Topic are where dead letters go when the transport has none
	// of its own. Set both or neither; neither is right only where every
	// delivery comes from a transport that has (transport/redis,
	// transport/memory, under package router). The middleware never closes Publisher.
	Publisher message.Publisher
	Topic     string
	// MaxDeliveries is how often a message may be delivered, where attempts of Retry
	// in one delivery count as so many. One that comes more often is given up before
	// the handler runs again: it may be what ends the process. It is also how long
	// events.RetryAfter can put a message off, if Retry does not end that before.
	// It applies only where the transport counts (Capabilities.Attempts). Zero
	// means DefaultMaxDeliveries, 25; a negative value means no limit.
	MaxDeliveries int
	// ShouldPoison says of a final error whether the message is given up;
	// otherwise the error is passed on, and the message retried by the router's
	// schedule. It is not asked when MaxDeliveries is reached. It must be safe
	// for concurrent use. Nil means always.
	ShouldPoison func(error) bool
}

// PoisonQueue makes dead letters of messages that cannot be handled, so that
// they do not come back for ever. It takes every error that reaches it as
// final: put it outside Retry, and inside nothing but Tracing and the like.
//
// Where the transport can store dead letters atomically, the error becomes
// events.Permanent and the router settles the delivery so. Elsewhere, as in
// Watermill's router, a copy of the message goes to Topic with
// transport.FailureMetadata, and nil is returned, which acks the message. A
// process that dies in between leaves both, so a dead letter may be there twice.
// If publishing fails both errors are returned: the message stays where it was.
//
// These are not final and passed on: events.Snooze; events.RetryAfter, until
// MaxDeliveries or [ErrAttemptsUsedUp]; [ErrInProgress]; any error after the message's context has ended by
// events.ErrReleased, transport.ErrLeaseLost or a plain cancellation, as when a
// subscription closes (a deadline is final). events.Discard is passed on, too; in
// Watermill's router, which does not know it, it becomes nil.
//
// If there is neither a transport that can nor a Publisher, the error is
// returned with [ErrNoPoisonQueue]. The same goes for a message that comes from
// Topic itself. Panics pass through: recover them inside Retry.
func PoisonQueue(cfg PoisonConfig) (message.HandlerMiddleware, error) {
	if cfg.Publisher == nil && cfg.Topic != "" {
		return nil, configError("PoisonConfig.Publisher", nil, "is nil though Topic is set", "set both, or neither if the transport has dead letters")
	}
	if cfg.Publisher != nil && nilcheck.IsNil(cfg.Publisher) {
		return nil, configError("PoisonConfig.Publisher", cfg.Publisher, "is a nil pointer", "look at the error of its constructor, or leave it out if the transport has dead letters")
	}
	if cfg.Publisher != nil && cfg.Topic == "" {
		return nil, configError("PoisonConfig.Topic", cfg.Topic, "is empty though Publisher is set", "name the topic, such as transport.DeadLetterTopic's")
	}
	if cfg.MaxDeliveries == 0 {
		cfg.MaxDeliveries = DefaultMaxDeliveries
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			p := poisoning{PoisonConfig: &cfg, ctx: msg.Context(), msg: msg}
			p.delivery, p.can = transport.DeliveryFromContext(p.ctx)
			if n := p.deliveries(); cfg.MaxDeliveries > 0 && n > cfg.MaxDeliveries {
				return nil, p.giveUp(fmt.Errorf("%w: delivery %d, at most %d", ErrTooManyDeliveries, n, cfg.MaxDeliveries))
			}
			produced, err := next(msg)
			if err == nil {
				return produced, nil
			}
			return nil, p.decide(err)
		}
	}, nil
}

// poisoning is the handling of one message. Its context is the one that the
// message came with: what is inside may leave another.
type poisoning struct {
	*PoisonConfig
	ctx      context.Context
	msg      *message.Message
	delivery *transport.Delivery
	can      transport.Capabilities
}

// deliveries returns how often the message was delivered, 0 if nobody counts.
func (p *poisoning) deliveries() int {
	if p.delivery == nil || !p.can.Attempts {
		return 0
	}
	return p.delivery.Attempt
}

func (p *poisoning) decide(err error) error {
	if events.IsDiscard(err) {
		if p.delivery == nil {
			return nil
		}
		return err
	}
	if ended(p.ctx) || errors.Is(err, ErrInProgress) || events.IsSnooze(err) {
		return err
	}
	if _, ok := events.RetryDelay(err); ok && !errors.Is(err, ErrAttemptsUsedUp) {
		if n := p.deliveries(); p.MaxDeliveries < 0 || n < p.MaxDeliveries {
			return err
		}
		return p.giveUp(fmt.Errorf("%w: %w", ErrTooManyDeliveries, err))
	}
	if p.ShouldPoison != nil && !p.ShouldPoison(err) {
		return err
	}
	return p.giveUp(err)
}

// ended reports whether handling was interrupted for reasons of our own, so
// that its error says nothing about the message.
func ended(ctx context.Context) bool {
	if ctx.Err() == nil {
		return false
	}
	cause := context.Cause(ctx)
	return errors.Is(cause, events.ErrReleased) || errors.Is(cause, transport.ErrLeaseLost) || errors.Is(cause, context.Canceled)
}

func (p *poisoning) giveUp(err error) error {
	if p.can.DeadLetter {
		return events.Permanent(err)
	}
	from := p.source()
	if p.Publisher == nil {
		return fmt.Errorf("%w: %w", err, ErrNoPoisonQueue)
	}
	if from.Topic == p.Topic {
		return fmt.Errorf("%w: %w (the message comes from the poison topic %q itself)", err, ErrNoPoisonQueue, p.Topic)
	}
	if perr := p.Publisher.Publish(p.Topic, p.deadLetter(from, err)); perr != nil {
		// First the handler's error: its class counts.
		return fmt.Errorf("%w (and the message stays: publish it to poison topic %q: %w)", err, p.Topic, opaque(perr))
	}
	return nil
}

// source is the delivery, or in Watermill's router what is known of it.
func (p *poisoning) source() *transport.Delivery {
	if p.delivery != nil {
		return p.delivery
	}
	return &transport.Delivery{Message: p.msg, Topic: message.SubscribeTopicFromCtx(p.ctx), ID: p.msg.UUID}
}

func (p *poisoning) deadLetter(from *transport.Delivery, cause error) *message.Message {
	letter := p.msg.Copy()
	for k, v := range transport.FailureMetadata(from, cause) {
		letter.Metadata[k] = v
	}
	if p.deliveries() == 0 {
		// Nobody counted; better no number than a wrong one, even an old one.
		delete(letter.Metadata, transport.MetadataFailureAttempts)
	}
	if h, ok := events.HeaderFromContext(p.ctx); ok && h.TraceParent != "" && h.TraceParent != p.msg.Metadata[events.MetadataTraceParent] {
		letter.Metadata[transport.MetadataFailureTrace] = h.TraceParent // the span of Tracing outside
	}
	if name := message.HandlerNameFromCtx(p.ctx); name != "" {
		letter.Metadata[transport.MetadataFailureHandler] = name
	}
	ctx := p.ctx
	if ctx.Err() != nil { // Its deadline is why the message failed, perhaps.
		ctx = context.WithoutCancel(ctx)
	}
	letter.SetContext(ctx)
	return letter
}
