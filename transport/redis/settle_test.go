package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
)

// many returns pairs of fields and values, more than a Lua script can unpack.
func many(first ...string) []string {
	for i := range 4100 {
		first = append(first, fmt.Sprint("f", i), "v")
	}
	return first
}

func TestAnEntryWithThousandsOfFieldsIsSettledLikeAnyOther(t *testing.T) {
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{})
	for range 3 {
		f.add("t", many("_watermill_message_uuid", "big", "payload", "p")...)
	}
	f.publish("small")
	retried, released, dead, small := f.receive(r), f.receive(r), f.receive(r), f.receive(r)
	f.check(r.Settle(t.Context(), retried.Retry(0, nil), released.Release(), dead.DeadLetter(errors.New("too big")), small.Retry(50*time.Millisecond, nil)))
	got := map[string]int{}
	for range 3 {
		d := f.receive(r)
		got[fmt.Sprint(d.Message.UUID, " ", string(d.Message.Payload), " ", d.Attempt)]++
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	if got["big p 2"] != 1 || got["big p 1"] != 1 || got["small {} 2"] != 1 {
		t.Errorf("received %v", got)
	}
	letters := f.entries(transport.DeadLetterTopic("t"))
	if len(letters) != 1 {
		t.Fatalf("dead letters %v", letters)
	}
	msg, err := redis.Decode(letters[0].Values)
	f.check(err)
	if msg.UUID != "big" || string(msg.Payload) != "p" || msg.Metadata[transport.MetadataFailureReason] != "too big" {
		t.Errorf("dead letter %+v", msg)
	}
	if n := f.pending(); n != 0 {
		t.Errorf("%d entries are pending", n)
	}
}

func TestAMetadataKeyThatIsReservedDoesNotKeepAMessageFromTheDeadLetters(t *testing.T) {
	f := newFixture(t)
	md, err := msgpack.Marshal(map[string]string{"_watermill_message_uuid": "x", "key": "value"})
	f.check(err)
	f.add("t", "_watermill_message_uuid", "1", "metadata", string(md), "payload", "p")
	r := f.receiver(redis.SubscriberConfig{})
	f.check(r.Settle(t.Context(), f.receive(r).DeadLetter(errors.New("bad"))))
	letters := f.entries(transport.DeadLetterTopic("t"))
	if len(letters) != 1 {
		t.Fatalf("dead letters %v", letters)
	}
	msg, err := redis.Decode(letters[0].Values)
	f.check(err)
	if msg.UUID != "1" || msg.Metadata["key"] != "value" || msg.Metadata["_watermill_message_uuid"] != "" || msg.Metadata["reserved._watermill_message_uuid"] != "x" {
		t.Errorf("dead letter %s with %v", msg.UUID, msg.Metadata)
	}
}

// moves are the outcomes that store a message, and where.
var moves = []struct {
	outcome func(*transport.Delivery) transport.Outcome
	stored  func(*fixture) int64
}{
	{
		func(d *transport.Delivery) transport.Outcome { return d.Retry(time.Hour, nil) },
		func(f *fixture) int64 { return f.client.HLen(f.t.Context(), "{t}:delayed:g").Val() },
	},
	{
		func(d *transport.Delivery) transport.Outcome { return d.DeadLetter(errors.New("bad")) },
		func(f *fixture) int64 { return f.client.XLen(f.t.Context(), transport.DeadLetterTopic("t")).Val() },
	},
	{
		(*transport.Delivery).Release,
		func(f *fixture) int64 { return f.client.XLen(f.t.Context(), "{t}:retry:g").Val() },
	},
}

var disasters = [][]any{{"FLUSHALL"}, {"DEL", "t"}, {"DEL", "t", "{t}:retry:g"}, {"XGROUP", "DESTROY", "t", "g"}}

func TestP6_WhatIsHeldWhenItsGroupGoesIsStoredWhereItsOutcomeSays(t *testing.T) {
	f := newFixture(t)
	for _, disaster := range disasters {
		t.Run(strings.Trim(fmt.Sprint(disaster), "[]"), func(t *testing.T) {
			f.check(f.client.FlushAll(t.Context()).Err())
			f.publish("retry", "dead-letter", "release", "ack")
			r := f.open(redis.SubscriberConfig{}, "t")
			held := []*transport.Delivery{f.receive(r), f.receive(r), f.receive(r), f.receive(r)}
			redis.Crash(r) // It creates no group any more, and can settle.
			f.check(f.client.Do(t.Context(), disaster...).Err())
			for i, move := range moves {
				o := move.outcome(held[i])
				f.check(r.Settle(t.Context(), o))
				if n := move.stored(f); n != 1 {
					t.Errorf("%s: stored %d times", o.Settlement, n)
				}
			}
			f.check(r.Settle(t.Context(), held[3].Ack()))
		})
	}
}

func TestP6_WhatIsHeldWhenItsGroupIsCreatedAgainIsStoredWhereItsOutcomeSays(t *testing.T) {
	f := newFixture(t)
	for _, disaster := range disasters {
		t.Run(strings.Trim(fmt.Sprint(disaster), "[]"), func(t *testing.T) {
			f.check(f.client.FlushAll(t.Context()).Err())
			f.publish("retry", "dead-letter", "release", "ack")
			r := f.open(redis.SubscriberConfig{Lease: time.Minute, Start: "$"}, "t")
			f.check(f.client.XGroupSetID(t.Context(), "t", "g", "0").Err())
			other := f.open(redis.SubscriberConfig{Lease: time.Minute, Start: "$"}, "t") // It may be the one that creates the group.
			held := map[string]*transport.Delivery{}
			holder := map[string]transport.Receiver{}
			for range 4 {
				d, by := f.receiveOf(r, other)
				held[d.Message.UUID], holder[d.Message.UUID] = d, by
			}
			f.check(f.client.Do(t.Context(), disaster...).Err())
			f.eventually("both are reading again", func() bool {
				f.publish("marker")
				return f.consumers() == 2
			})
			redis.Renew(r)
			redis.Renew(other)
			for _, move := range moves {
				name := move.outcome(held["ack"]).Settlement.String()
				d := held[name]
				if err := context.Cause(d.Message.Context()); err != nil {
					t.Errorf("%s: the context has ended: %v", name, err)
				}
				f.check(holder[name].Settle(t.Context(), move.outcome(d)))
				if name == "release" {
					continue // It is read again at once, see below.
				}
				if n := move.stored(f); n != 1 {
					t.Errorf("%s: stored %d times", name, n)
				}
			}
			f.check(holder["ack"].Settle(t.Context(), held["ack"].Ack()))
			for uuid := ""; uuid != "release"; {
				d, by := f.receiveOf(r, other)
				uuid = d.Message.UUID
				f.check(by.Settle(t.Context(), d.Ack()))
			}
			f.check(errors.Join(r.Close(), other.Close()))
		})
	}
}

func TestADeliveryOfARetryCanBeAckedAfterItsGroupIsGone(t *testing.T) {
	f := newFixture(t)
	f.publish("1")
	r := f.open(redis.SubscriberConfig{}, "t")
	f.check(r.Settle(t.Context(), f.receive(r).Retry(0, nil)))
	d := f.receive(r)
	redis.Crash(r)
	f.check(f.client.FlushAll(t.Context()).Err())
	f.check(r.Settle(t.Context(), d.Ack()))
}

func TestAServerWithoutEnoughReplicasIsWaitedFor(t *testing.T) {
	f := newFixture(t)
	client := goredis.NewClient(&goredis.Options{Addr: f.server.Addr, MaxRetries: -1}) // It would try again itself, for a moment.
	t.Cleanup(func() { f.check(client.Close()) })
	r := f.receiver(redis.SubscriberConfig{Client: client, Lease: time.Minute})
	f.publish("1", "2", "3")
	outcomes := []transport.Outcome{f.receive(r).Ack(), f.receive(r).DeadLetter(errors.New("bad")), f.receive(r).Retry(time.Hour, nil)}
	f.check(f.client.ConfigSet(t.Context(), "min-replicas-to-write", "1").Err())
	settled := make(chan error, 1)
	go func() { settled <- r.Settle(t.Context(), outcomes...) }()
	f.eventually("it tries again", func() bool { return f.stat("xack", "rejected_calls") >= 3 || len(settled) > 0 })
	select {
	case err := <-settled:
		t.Fatalf("settled: %v", err)
	default:
	}
	f.check(f.client.ConfigSet(t.Context(), "min-replicas-to-write", "0").Err())
	f.check(<-settled)
	if n := f.pending(); n != 0 {
		t.Errorf("%d entries are pending", n)
	}
}

// user opens a client of a user with the given rules.
func (f *fixture) user(rules ...any) *goredis.Client {
	f.t.Helper()
	f.check(f.client.Do(f.t.Context(), append([]any{"ACL", "SETUSER", "u", "on", ">p", "~*", "&*"}, rules...)...).Err())
	c := goredis.NewClient(&goredis.Options{Addr: f.server.Addr, Username: "u", Password: "p"})
	f.t.Cleanup(func() { f.check(c.Close()) })
	return c
}

func TestAUserWhoMayNotLoadScriptsCanSettle(t *testing.T) {
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{Client: f.user("+@all", "-script")})
	f.publish("1", "2", "3", "4")
	a, b, c, d := f.receive(r), f.receive(r), f.receive(r), f.receive(r)
	f.check(r.Settle(t.Context(), a.Ack(), b.DeadLetter(errors.New("bad")), c.Retry(0, nil), d.Release()))
	for range 2 {
		f.check(r.Settle(t.Context(), f.receive(r).Ack()))
	}
	if n := f.pending(); n != 0 {
		t.Errorf("%d entries are pending", n)
	}
}

func TestAUserWhoMayNotRunScriptsIsTold(t *testing.T) {
	f := newFixture(t)
	r := f.open(redis.SubscriberConfig{Client: f.user("+@all", "-eval", "-evalsha")}, "t")
	f.publish("1")
	err := r.Settle(t.Context(), f.receive(r).DeadLetter(errors.New("bad")))
	if _, ok := errors.AsType[*transport.SettleError](err); !ok || !strings.Contains(err.Error(), "allow the user this command on t, {t}:dead-letters") {
		t.Errorf("settle: %v", err)
	}
	f.check(r.Close())
}
