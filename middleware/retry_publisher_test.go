package middleware_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport/memory"
)

// flakyPublisher fails messages by their UUID as often as it is told to.
type flakyPublisher struct {
	fails map[string]int
	err   error
	blunt bool // its error does not say which messages failed
	calls [][]string
	out   []string
}

func (p *flakyPublisher) Publish(topic string, messages ...*message.Message) error {
	var call []string
	e := &events.PublishError{Topic: topic, Total: len(messages)}
	for _, msg := range messages {
		call = append(call, msg.UUID)
		if p.fails[msg.UUID] > 0 {
			p.fails[msg.UUID]--
			e.Failed = append(e.Failed, events.FailedMessage{Topic: topic, Message: msg, Err: p.err})
			continue
		}
		p.out = append(p.out, msg.UUID)
	}
	p.calls = append(p.calls, call)
	switch {
	case len(e.Failed) == 0:
		return nil
	case p.blunt:
		return p.err
	}
	return e
}

func (p *flakyPublisher) Close() error { return nil }

func published(t *testing.T, next message.Publisher, cfg middleware.RetryPublisherConfig, ctx context.Context, uuids ...string) error {
	t.Helper()
	pub, err := middleware.RetryPublisher(next, cfg)
	must(t, err)
	var msgs []*message.Message
	for _, id := range uuids {
		msg := message.NewMessage(id, nil)
		msg.SetContext(ctx)
		msgs = append(msgs, msg)
	}
	return pub.Publish("orders", msgs...)
}

func TestRetryPublisherSendsAgainOnlyWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &flakyPublisher{fails: map[string]int{"b": 2, "d": 1}, err: errBoom}
		begun := time.Now()
		must(t, published(t, next, middleware.RetryPublisherConfig{}, t.Context(), "a", "b", "c", "d"))
		if !slices.Equal(next.out, []string{"a", "c", "d", "b"}) || len(next.calls) != 3 {
			t.Errorf("out %v by %v", next.out, next.calls)
		}
		if took := time.Since(begun); took < 150*time.Millisecond || took > 450*time.Millisecond {
			t.Errorf("waited %v in all, want 300 ms give or take a half", took)
		}
	})
}

func TestRetryPublisherListsWhatIsLeftWhenItsAttemptsAreUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &flakyPublisher{fails: map[string]int{"b": 9}, err: errBoom}
		err := published(t, next, middleware.RetryPublisherConfig{MaxAttempts: 4, InitialInterval: time.Second}, t.Context(), "a", "b")
		list, ok := errors.AsType[*events.PublishError](err)
		if !ok || list.Total != 2 || len(list.Failed) != 1 || list.Failed[0].Message.UUID != "b" || !errors.Is(err, errBoom) {
			t.Errorf("got %v", err)
		}
		if len(next.calls) != 4 {
			t.Errorf("%d calls", len(next.calls))
		}
	})
}

func TestRetryPublisherDoesNotRepeatWhatCannotHelp(t *testing.T) {
	for name, final := range map[string]error{"permanent": events.Permanent(errBoom), "closed": events.ErrClosed} {
		next := &flakyPublisher{fails: map[string]int{"a": 9}, err: final}
		if err := published(t, next, middleware.RetryPublisherConfig{}, t.Context(), "a"); !errors.Is(err, final) || len(next.calls) != 1 {
			t.Errorf("%s: got %v after %d calls", name, err, len(next.calls))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	next := &flakyPublisher{fails: map[string]int{"a": 9}, err: errBoom}
	if err := published(t, next, middleware.RetryPublisherConfig{}, ctx, "a"); !errors.Is(err, errBoom) || len(next.calls) != 1 {
		t.Errorf("got %v after %d calls", err, len(next.calls))
	}
}

func TestRetryPublisherStopsWaitingWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		next := &flakyPublisher{fails: map[string]int{"a": 9}, err: errBoom}
		err := published(t, next, middleware.RetryPublisherConfig{InitialInterval: time.Hour}, ctx, "a")
		if !errors.Is(err, errBoom) || !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(begun))
		}
	})
}

func TestRetryPublisherSendsAllAgainIfNobodySaysWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := &flakyPublisher{fails: map[string]int{"b": 1}, err: errBoom, blunt: true}
		must(t, published(t, next, middleware.RetryPublisherConfig{}, t.Context(), "a", "b"))
		if !slices.Equal(next.out, []string{"a", "a", "b"}) {
			t.Errorf("out %v", next.out)
		}
	})
}

func TestRetryPublisherLeavesNilMessagesToTheTransport(t *testing.T) {
	broker := memory.NewBroker(memory.BrokerConfig{})
	next, err := memory.NewPublisher(broker)
	must(t, err)
	pub, err := middleware.RetryPublisher(next, middleware.RetryPublisherConfig{})
	must(t, err)
	if err := pub.Publish("orders", message.NewMessage("a", nil), nil); err == nil || len(broker.Messages("orders")) != 1 {
		t.Errorf("got %v, stored %d", err, len(broker.Messages("orders")))
	}
}

func TestRetryPublisherRefusesWhatCannotBe(t *testing.T) {
	for _, cfg := range []middleware.RetryPublisherConfig{{MaxAttempts: -1}, {InitialInterval: -1}, {MaxInterval: -1}, {InitialInterval: 2, MaxInterval: 1}} {
		if _, err := middleware.RetryPublisher(&flakyPublisher{}, cfg); !isConfigError(err) {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
	if _, err := middleware.RetryPublisher((*flakyPublisher)(nil), middleware.RetryPublisherConfig{}); !isConfigError(err) {
		t.Errorf("got %v", err)
	}
}

func isConfigError(err error) bool {
	_, ok := errors.AsType[*events.ConfigError](err)
	return ok
}
