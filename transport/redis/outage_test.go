package redis_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// within returns a context that ends soon.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestSettlingKeepsToItsContextWhenTheServerHangs(t *testing.T) {
	t.Parallel()
	for _, move := range append(moves, struct {
		outcome func(*transport.Delivery) transport.Outcome
		stored  func(*fixture) int64
	}{(*transport.Delivery).Ack, func(*fixture) int64 { return 1 }}) {
		f := newFixture(t)
		r := f.open(redis.SubscriberConfig{Lease: time.Hour}, "t")
		f.publish("1")
		o := move.outcome(f.receive(r))
		f.check(f.server.Signal(syscall.SIGSTOP))
		start := time.Now()
		err := r.Settle(within(t, 200*time.Millisecond), o)
		if took := time.Since(start); took < 200*time.Millisecond || took > 1500*time.Millisecond {
			t.Errorf("%s: took %v", o.Settlement, took)
		}
		failed, ok := errors.AsType[*transport.SettleError](err)
		if !ok || len(failed.Unsettled) != 1 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: settle: %v", o.Settlement, err)
		}
		f.check(f.server.Signal(syscall.SIGCONT))
		f.check(r.Settle(within(t, 20*time.Second), o))
		if n := f.pending(); n != 0 {
			t.Errorf("%s: %d entries are pending after the second call", o.Settlement, n)
		}
		if n := move.stored(f); n != 1 {
			t.Errorf("%s: stored %d times", o.Settlement, n)
		}
		f.check(r.Close())
	}
}

func TestASettleErrorHasTheContextsErrorAndTheRealOne(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	// Dialling takes most of the time, so that the end comes while it is under way.
	client := goredis.NewClient(&goredis.Options{Addr: f.server.Addr, MaxRetries: -1})
	t.Cleanup(func() { f.check(client.Close()) })
	r := f.open(redis.SubscriberConfig{Client: client, Lease: time.Hour}, "t")
	f.publish("1")
	d := f.receive(r)
	f.server.Kill()
	err := r.Settle(within(t, 2*time.Second), d.Ack())
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("settle: %v", err)
	}
	if text := err.Error(); !strings.Contains(text, "check that the server runs") || !strings.Contains(text, `ack of 1 in "t"`) {
		t.Errorf("settle: %q", text)
	}
	f.check(f.server.Restart(t.Context()))
	f.check(r.Settle(within(t, 20*time.Second), d.Ack()))
	if n := f.pending(); n != 0 {
		t.Errorf("%d entries are pending", n)
	}
	f.check(r.Close())
}

func TestP9_AnOutcomeIsAppliedOnceWhenTheServerIsBack(t *testing.T) {
	for name, settings := range map[string][]string{
		"with its data": nil,
		// The call begins before anybody knows that the group is gone, and ends after
		// it was made again: what it has is the last that there is of the messages.
		"without its data": {"--appendonly", "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, settings...)
			r := f.receiver(redis.SubscriberConfig{Lease: time.Hour})
			f.publish("1", "2", "3")
			a, b, c := f.receive(r), f.receive(r), f.receive(r)
			f.server.Kill()
			settled := make(chan error, 1)
			go func() { settled <- r.Settle(t.Context(), a.Ack(), b.DeadLetter(errors.New("bad")), c.Retry(0, nil)) }()
			f.eventually("the outage is noticed", func() bool { return f.log.count("reading failed") == 1 })
			f.check(f.server.Restart(t.Context()))
			f.check(<-settled)
			if d := f.receive(r); d.Message.UUID != "3" || d.Attempt != 2 {
				t.Errorf("received %s, attempt %d", d.Message.UUID, d.Attempt)
			}
			if n := len(f.entries(transport.DeadLetterTopic("t"))); n != 1 {
				t.Errorf("%d dead letters", n)
			}
		})
	}
}

func TestASubscriptionsAckOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: f.client, Group: "g", Block: 50 * time.Millisecond, Lease: time.Second})
	f.check(err)
	msgs, err := sub.Subscribe(t.Context(), "t")
	f.check(err)
	f.publish("1")
	msg := <-msgs
	f.server.Kill()
	msg.Ack()
	f.check(f.server.Restart(t.Context()))
	f.eventually("it is acked", func() bool { return f.pending() == 0 })
	f.publish("2")
	if msg := <-msgs; msg.UUID != "2" {
		t.Errorf("%s came again", msg.UUID)
	} else {
		msg.Ack()
	}
	f.check(sub.Close())
}

func TestAClosedClientEndsTheReceiver(t *testing.T) {
	f := newFixture(t)
	client := goredis.NewClient(&goredis.Options{Addr: f.server.Addr})
	r := f.open(redis.SubscriberConfig{Client: client}, "t")
	f.publish("1")
	d := f.receive(r)
	f.check(client.Close())
	_, err := r.Receive(within(t, 20*time.Second), 1)
	if !errors.Is(err, goredis.ErrClosed) || !strings.Contains(err.Error(), "close it after its publishers and subscribers") {
		t.Errorf("receive: %v", err)
	}
	if err := r.Settle(t.Context(), d.Ack()); !errors.Is(err, goredis.ErrClosed) {
		t.Errorf("settle: %v", err)
	}
	if n := f.log.count("receiving ends"); n != 1 {
		t.Errorf("reported %d times", n)
	}
	if err := r.Close(); err != nil && !errors.Is(err, goredis.ErrClosed) {
		t.Errorf("close: %v", err)
	}
	if n := f.log.count("level="); n > 5 {
		t.Errorf("a closed client is reported %d times: %s", n, f.log.String())
	}
}

func TestClosingWhileTheServerHangsEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	client := goredis.NewClient(&goredis.Options{Addr: f.server.Addr, ReadTimeout: 500 * time.Millisecond, DialTimeout: time.Second, DialerRetries: 1})
	t.Cleanup(func() { f.check(client.Close()) })
	r := f.open(redis.SubscriberConfig{Client: client, Lease: time.Hour, Block: 50 * time.Millisecond}, "t")
	f.publish("1")
	d := f.receive(r)
	f.check(f.server.Signal(syscall.SIGSTOP))
	start := time.Now()
	err := r.Close()
	if took := time.Since(start); took > 12*time.Second {
		t.Errorf("took %v", took)
	}
	if _, ok := errors.AsType[*transport.SettleError](err); !ok || d.Message.Context().Err() == nil {
		t.Errorf("close: %v; the context: %v", err, d.Message.Context().Err())
	}
	f.check(f.server.Signal(syscall.SIGCONT))
}
