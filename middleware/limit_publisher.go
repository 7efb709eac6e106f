package middleware

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/nilcheck"
)

// ErrPublishLimited says that a message was not published because the rate that
// [LimitPublisher] keeps leaves it no turn within LimitPublisherConfig.MaxWait.
var ErrPublishLimited = errors.New("middleware: limit publisher: no turn within MaxWait")

// DefaultPublishWait is the default of LimitPublisherConfig.MaxWait.
const DefaultPublishWait = 5 * time.Second

// LimitPublisherConfig configures [LimitPublisher].
type LimitPublisherConfig struct {
	// Limiter is asked for a turn for each message. Required.
	Limiter Limiter
	// Key is what the limiter knows the rate by. Empty is a key like others.
	Key string
	// MaxWait is the longest that a call of Publish waits for its turns. Zero means
	// DefaultPublishWait, 5 s.
	MaxWait time.Duration
}

// LimitPublisher decorates a publisher: messages go out no faster than a limiter
// allows, a turn for each. A call waits until all of its messages have their turn and
// publishes them in one; those whose turn is more than MaxWait away, or for which the
// limiter fails, are not published and listed in an *events.PublishError, with
// [ErrPublishLimited] or the limiter's error. If the context of the first message
// ends while it waits, none is published; the turns are lost.
//
// Put it beneath RetryPublisher, whose attempts take turns of their own, and over
// the transport. Close closes next. A nil next or limiter, or a negative MaxWait, is
// a *events.ConfigError. It is safe for concurrent use if next is.
func LimitPublisher(next message.Publisher, cfg LimitPublisherConfig) (message.Publisher, error) {
	switch {
	case nilcheck.IsNil(next):
		return nil, configError("LimitPublisher next", next, "is nil", "pass a message.Publisher, such as redis.NewPublisher's")
	case nilcheck.IsNil(cfg.Limiter):
		return nil, configError("LimitPublisherConfig.Limiter", cfg.Limiter, "is nil", "set it to a Limiter, such as middleware.NewLocalLimiter's")
	case cfg.MaxWait < 0:
		return nil, configError("LimitPublisherConfig.MaxWait", cfg.MaxWait, "is negative", "set it to a duration, or to 0 for 5 s")
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = DefaultPublishWait
	}
	return &limitPublisher{LimitPublisherConfig: cfg, next: next}, nil
}

type limitPublisher struct {
	LimitPublisherConfig
	next message.Publisher
}

func (p *limitPublisher) Close() error { return p.next.Close() }

func (p *limitPublisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 || slices.Contains(messages, nil) {
		return p.next.Publish(topic, messages...) // which says what is wrong with it
	}
	ctx := messages[0].Context()
	wait, n, late := p.turns(ctx, len(messages))
	failed := make([]events.FailedMessage, 0, len(messages)-n)
	if n > 0 && wait > 0 {
		if cause := pause(ctx, wait); cause != nil {
			n, late = 0, fmt.Errorf("middleware: limit publisher: not published: %w", cause)
		}
	}
	if n > 0 {
		if err := p.next.Publish(topic, messages[:n]...); err != nil {
			if n == len(messages) {
				return err
			}
			errs, _ := events.FailedOf(err, messages[:n])
			for i, err := range errs {
				if err != nil {
					failed = append(failed, events.FailedMessage{Topic: topic, Message: messages[i], Err: err})
				}
			}
		}
	}
	for _, msg := range messages[n:] {
		failed = append(failed, events.FailedMessage{Topic: topic, Message: msg, Err: late})
	}
	if len(failed) == 0 {
		return nil
	}
	return &events.PublishError{Topic: topic, Total: len(messages), Failed: failed}
}

// turns takes up to n turns. It returns how long until the last of them comes, how
// many there are, and why there are no more.
func (p *limitPublisher) turns(ctx context.Context, n int) (wait time.Duration, taken int, err error) {
	for taken = range n {
		w, ok, err := p.Limiter.Take(ctx, p.Key, p.MaxWait)
		switch {
		case err != nil:
			return wait, taken, fmt.Errorf("middleware: limit publisher: ask the limiter about %q: %w", p.Key, err)
		case !ok:
			return wait, taken, fmt.Errorf("%w: key %q, %v until the next", ErrPublishLimited, p.Key, w)
		}
		wait = max(wait, w)
	}
	return wait, n, nil
}
