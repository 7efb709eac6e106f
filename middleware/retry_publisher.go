package middleware

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v4"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// RetryPublisherConfig configures [RetryPublisher].
type RetryPublisherConfig struct {
	// MaxAttempts is how often a message is published at most, the first time
	// included. Zero means DefaultMaxAttempts, 3.
	MaxAttempts int
	// InitialInterval is the wait after the first failure. Each further one is
	// twice as long. Zero means DefaultInitialInterval, 100 ms.
	InitialInterval time.Duration
	// MaxInterval limits each wait. Zero means DefaultMaxInterval, 5 s, or
	// InitialInterval if that is more.
	MaxInterval time.Duration
}

// RetryPublisher decorates a publisher: what could not be published is tried again,
// and only that. Which messages of a call have failed the error of next says
// (events.FailedOf); if it does not, all of them are published again, which
// consumers see twice. A message that was stored though its error says otherwise,
// as after a lost connection, is also there twice, under the same id.
//
// Waits grow from InitialInterval to MaxInterval, each spread by half, so that
// publishers that failed together do not return together. They occupy the caller:
// Publish returns when all has gone out, or when the attempts are used up. A
// message is not tried again if its context has ended, or if its error is
// events.Permanent or events.ErrClosed. The error then is an *events.PublishError
// over the call.
//
// Put it over a transport or a routing table; over a batching publisher it would
// have messages wait for their batch again, so put it beneath that. Close closes
// next. A nil next or a wrong configuration is a *events.ConfigError. It is safe
// for concurrent use if next is.
func RetryPublisher(next message.Publisher, cfg RetryPublisherConfig) (message.Publisher, error) {
	if nilcheck.IsNil(next) {
		return nil, configError("RetryPublisher next", next, "is nil", "pass a message.Publisher, such as redis.NewPublisher's")
	}
	switch {
	case cfg.MaxAttempts < 0:
		return nil, configError("RetryPublisherConfig.MaxAttempts", cfg.MaxAttempts, "is negative", "set it to a number of attempts, or to 0 for 3")
	case cfg.InitialInterval < 0:
		return nil, configError("RetryPublisherConfig.InitialInterval", cfg.InitialInterval, "is negative", "set it to a duration, or to 0 for 100 ms")
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = DefaultMaxAttempts
	}
	if cfg.InitialInterval == 0 {
		cfg.InitialInterval = DefaultInitialInterval
		if cfg.MaxInterval > 0 {
			cfg.InitialInterval = min(cfg.InitialInterval, cfg.MaxInterval)
		}
	}
	if cfg.MaxInterval == 0 {
		cfg.MaxInterval = max(DefaultMaxInterval, cfg.InitialInterval)
	}
	if cfg.MaxInterval < cfg.InitialInterval {
		return nil, configError("RetryPublisherConfig.MaxInterval", cfg.MaxInterval, "is less than InitialInterval", "set it to at least InitialInterval, or to 0 for 5 s")
	}
	return &retryPublisher{RetryPublisherConfig: cfg, next: next}, nil
}

type retryPublisher struct {
	RetryPublisherConfig
	next message.Publisher
}

func (p *retryPublisher) Close() error { return p.next.Close() }

func (p *retryPublisher) Publish(topic string, messages ...*message.Message) error {
	err := p.next.Publish(topic, messages...)
	if err == nil || slices.Contains(messages, nil) { // Of nil messages no error can tell which they were.
		return err
	}
	errs := make([]error, len(messages))    // nil for what has gone out
	places := make([]int, 0, len(messages)) // of what was published last
	for i := range messages {
		places = append(places, i)
	}
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.InitialInterval), backoff.WithMaxInterval(p.MaxInterval), backoff.WithMultiplier(DefaultMultiplier),
		backoff.WithRandomizationFactor(DefaultJitter), backoff.WithMaxElapsedTime(0),
	)
	for attempt := 1; ; attempt++ {
		again := p.sort(err, messages, places, errs)
		if len(again) == 0 || attempt == p.MaxAttempts {
			return p.failed(topic, messages, errs, attempt)
		}
		// The context of the first one stands for all: they are of one caller.
		if cause := pause(messages[again[0]].Context(), waits.NextBackOff()); cause != nil {
			for _, at := range again {
				errs[at] = fmt.Errorf("%w (not tried again: %w)", errs[at], cause)
			}
			return p.failed(topic, messages, errs, attempt)
		}
		rest := make([]*message.Message, len(again))
		for i, at := range again {
			rest[i] = messages[at]
		}
		places, err = again, p.next.Publish(topic, rest...)
	}
}

// sort notes what became of the messages at places, and returns the places of
// those that may be published again.
func (p *retryPublisher) sort(err error, messages []*message.Message, places []int, errs []error) (again []int) {
	published := make([]*message.Message, len(places))
	for i, at := range places {
		published[i] = messages[at]
	}
	outcome, _ := events.FailedOf(err, published)
	for i, at := range places {
		errs[at] = outcome[i]
		if outcome[i] != nil && mayRepeat(messages[at], outcome[i]) {
			again = append(again, at)
		}
	}
	return again
}

func (p *retryPublisher) failed(topic string, messages []*message.Message, errs []error, attempts int) error {
	e := &events.PublishError{Topic: topic, Total: len(messages)}
	for i, msg := range messages {
		if errs[i] != nil {
			e.Failed = append(e.Failed, events.FailedMessage{Topic: topic, Message: msg, Err: errs[i]})
		}
	}
	switch {
	case len(e.Failed) == 0:
		return nil
	case attempts == 1:
		return e
	}
	return fmt.Errorf("after %d attempts: %w", attempts, e)
}

// mayRepeat reports whether another attempt at a message can help.
func mayRepeat(msg *message.Message, err error) bool {
	_, config := errors.AsType[*events.ConfigError](err)
	return msg.Context().Err() == nil && !events.IsPermanent(err) && !errors.Is(err, events.ErrClosed) && !config
}
