package redis_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// settles reports whether a command is one that settles entries of topic t.
func settles(cmd []string) bool {
	switch cmd[0] {
	case "xack":
		return true
	case "eval", "evalsha":
		return len(cmd) > 3 && cmd[3] == "t"
	}
	return false
}

// A connection is cut at every command of every settlement, in every way. Either the
// process dies with it, or it tries again.
func TestP9_AMoveIsDoneOnceOrNotAtAllWhereverItsConnectionIsCut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ack := moves[0]
	ack.outcome, ack.stored = (*transport.Delivery).Ack, func(f *fixture) int64 { return 1 - f.pending() }
	for _, move := range append(moves, ack) {
		for _, cut := range cuts {
			for k := range 2 { // Moves are two commands: the server does not know their script at first.
				for _, crash := range []bool{true, false} {
					f.check(f.client.FlushAll(t.Context()).Err())
					f.check(f.client.ScriptFlush(t.Context()).Err())
					f.publish("1")
					p := newProxy(t, f.server.Addr)
					r := f.open(redis.SubscriberConfig{Client: p.client(once), Lease: time.Minute, Block: 10 * time.Millisecond}, "t")
					o := move.outcome(f.receive(r))
					name := fmt.Sprintf("%s, command %d %s, crash %v", o.Settlement, k, cut, crash)
					ctx, die := context.WithCancel(t.Context())
					n, dead := 0, false
					p.obey(func(cmd []string) fate {
						if dead {
							return notSent
						}
						if !settles(cmd) {
							return passed
						}
						if n++; n != k+1 {
							return passed
						}
						if crash {
							dead = true
							die()
						}
						return cut
					})
					err := r.Settle(ctx, o)
					redis.Crash(r)
					die()
					f.eventually("the server has done what it was sent", p.idle)
					if !crash && err != nil {
						t.Errorf("%s: settle: %v", name, err)
					}
					pending := f.pending()
					if stored := move.stored(f); stored+pending != 1 || !crash && stored != 1 {
						t.Errorf("%s: stored %d times, %d pending (settle: %v)", name, stored, pending, err)
					}
				}
			}
		}
	}
}

// As above for all that a consumer does in its life: every few commands a connection
// is cut, one way or another.
func TestP9_NothingIsLostAndNothingMovesTwiceWhileConnectionsAreCut(t *testing.T) {
	t.Parallel()
	for _, every := range []int{5, 7, 11} { // so that it hits all kinds of commands
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			p := newProxy(t, f.server.Addr)
			n := 0
			p.obey(func(cmd []string) fate {
				// Not for ever: a pipeline of more commands would never get through.
				if n++; n%every == 0 && n/every < 80 {
					return cuts[n/every%len(cuts)]
				}
				return passed
			})
			const each = 20
			var msgs []*message.Message
			for i := range each {
				for _, kind := range []string{"ack", "retry", "dead", "release"} {
					msgs = append(msgs, message.NewMessage(fmt.Sprint(kind, "-", i), nil))
				}
				f.add("t", "garbage", fmt.Sprint(i))
			}
			f.check(f.pub.Publish("t", msgs...))
			sub := redis.SubscriberConfig{Client: p.client(once), Lease: time.Second, ReclaimInterval: 100 * time.Millisecond, Block: 20 * time.Millisecond, Prefetch: 10}
			var r transport.Receiver
			f.eventually("the receiver is open", func() bool {
				var err error
				r, err = f.tryOpen(sub, "t")
				return err == nil
			})
			done, released := map[string]bool{}, map[string]bool{}
			for len(done) < len(msgs) {
				d := f.receive(r)
				id := d.Message.UUID
				o := d.Ack()
				switch id[:3] {
				case "ret":
					if d.Attempt == 1 {
						o = d.Retry(0, nil)
					}
				case "dea":
					o = d.DeadLetter(errors.New("bad"))
				case "rel":
					if !released[id] {
						o, released[id] = d.Release(), true
					}
				}
				f.check(r.Settle(within(t, 20*time.Second), o))
				if o.Settlement == transport.Ack || o.Settlement == transport.DeadLetter {
					done[id] = true
				}
			}
			f.eventually("nothing is open any more", func() bool {
				return f.pending() == 0 && f.client.XLen(t.Context(), "{t}:retry:g").Val() == 0 && len(f.entries(transport.DeadLetterTopic("t"))) >= 2*each
			})
			p.obey(nil)
			buried := 0
			for id, times := range f.stored(transport.DeadLetterTopic("t")) {
				if id == "" {
					buried = times
				} else if times != 1 {
					t.Errorf("%s is among the dead letters %d times", id, times)
				}
			}
			if all := len(f.entries(transport.DeadLetterTopic("t"))); buried != each || all != 2*each {
				t.Errorf("%d dead letters, %d of them garbage, want %d and %d", all, buried, 2*each, each)
			}
			f.check(r.Close())
		})
	}
}

// tryOpen opens a receiver, or says why not.
func (f *fixture) tryOpen(cfg redis.SubscriberConfig, topics ...string) (transport.Receiver, error) {
	f.t.Helper()
	cfg.Group, cfg.Logger = "g", f.logger()
	sub, err := redis.NewSubscriber(cfg)
	f.check(err)
	return sub.Receiver(topics...)
}

// A retry is packed by MessagePack and unpacked by the server's Lua, a release is copied by it.
func TestWhatComesAgainIsTheSameToTheByte(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{})
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	for _, text := range []string{"", "123", "-0", "1e400", "true", string(all[:]), strings.Repeat(string(all[:]), 300)} {
		want := message.NewMessage(text, []byte(text))
		want.Metadata["key"] = text
		want.Metadata["k"+text] = "value"
		f.check(f.pub.Publish("t", want))
		d := f.receive(r)
		id, stored := d.ID, d.Stored
		for _, o := range []transport.Outcome{d.Retry(0, nil), {Settlement: transport.Release}, {Settlement: transport.Retry}, {Settlement: transport.Ack}} {
			o.Delivery = d
			f.check(r.Settle(t.Context(), o))
			if o.Settlement == transport.Ack {
				break
			}
			d = f.receive(r)
			if d.Message.UUID != text || string(d.Message.Payload) != text || !maps.Equal(d.Message.Metadata, want.Metadata) || d.ID != id || d.Stored.UnixMilli() != stored.UnixMilli() {
				t.Errorf("%.20q after %s: %.20q, %.20q, %.50q, id %s, want %s", text, o.Settlement, d.Message.UUID, d.Message.Payload, d.Message.Metadata, d.ID, id)
			}
		}
	}
}

// The reply is lost, and before it is tried again the retry has come back already.
func TestP9_ARetryWhoseReplyIsLostComesBackOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := newProxy(t, f.server.Addr)
	r := f.receiver(redis.SubscriberConfig{Client: p.client(once), Lease: time.Minute, Block: 20 * time.Millisecond})
	f.publish("1")
	d := f.receive(r)
	var back atomic.Bool
	lost := false
	p.obey(func(cmd []string) fate {
		switch {
		case !settles(cmd) || back.Load():
			return passed
		case !lost && cmd[0] == "eval": // the first one that the server knows
			lost = true
			return notAnswered
		case lost:
			return notSent
		}
		return passed
	})
	settled := make(chan error, 1)
	go func() { settled <- r.Settle(t.Context(), d.Retry(0, nil)) }()
	again := f.receive(r)
	back.Store(true)
	f.check(<-settled)
	f.check(r.Settle(t.Context(), again.Ack()))
	if again.Attempt != 2 {
		t.Errorf("attempt %d", again.Attempt)
	}
	stored := f.client.ZCard(t.Context(), "{t}:delay:g").Val() + f.client.XLen(t.Context(), "{t}:retry:g").Val()
	if stored != 0 || f.pending() != 0 {
		t.Errorf("%d are stored still, %d pending", stored, f.pending())
	}
}
