package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// inOrder receives the messages from and below to, as numbered makes them, in order, and acks them.
func (f *fixture) inOrder(r transport.Receiver, from, to int) {
	f.t.Helper()
	for n := from; n < to; n++ {
		d := f.receive(r)
		if d.Message.UUID != strconv.Itoa(n) {
			f.t.Fatalf("received %s, attempt %d, want %d", d.Message.UUID, d.Attempt, n)
		}
		f.check(r.Settle(f.t.Context(), d.Ack()))
	}
}

// A consumer that has nothing to do, with the defaults of everything: one that has
// all topics, and one that stands by.
func TestAnIdleExclusiveConsumerSendsAtMostTwoCommandsASecond(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	topics := transport.PartitionTopics("t", 8)
	p, standby := newProxy(t, f.server.Addr), newProxy(t, f.server.Addr)
	f.receiverOn(redis.SubscriberConfig{Client: p.client(), Exclusive: true, Block: time.Second}, topics...)
	f.eventually("it has begun to read", func() bool { return p.count("xreadgroup") > 0 })
	f.receiverOn(redis.SubscriberConfig{Exclusive: true}, "u")
	f.receiverOn(redis.SubscriberConfig{Client: standby.client(), Exclusive: true}, "u")
	f.eventually("the other one stands by", func() bool { return standby.count("evalsha") > 0 })
	reads, before, others, begun := p.count("xreadgroup"), p.count(""), standby.count(""), time.Now()
	f.eventually("it has read for a while", func() bool { return p.count("xreadgroup") == reads+8 })
	n, m, seconds := p.count("")-before, standby.count("")-others, time.Since(begun).Seconds()
	t.Logf("%d commands with 8 topics, %d without a topic, in %.1f s", n, m, seconds)
	if float64(n) > 2*seconds+1 || float64(m) > seconds+1 {
		t.Errorf("%d and %d commands in %.1f s", n, m, seconds)
	}
}

// Its commands are not answered, as if its process or the network had stopped.
func TestAnExclusiveReceiverThatIsSilentForALeaseLosesItsTopic(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := newProxy(t, f.server.Addr)
	// Two seconds: a machine that is held up for a lease takes the topic from the heir as well, and rightly so.
	cfg := redis.SubscriberConfig{Exclusive: true, Lease: 2 * time.Second, Prefetch: 10}
	cfg.Client = p.client(func(o *goredis.Options) { o.ReadTimeout = 10 * time.Second })
	silent := f.receiver(cfg)
	f.check(f.pub.Publish("t", numbered(20)...))
	held := []*transport.Delivery{f.receive(silent), f.receive(silent), f.receive(silent)}
	cfg.Client = f.client
	heir := f.receiver(cfg)
	p.obey(func([]string) fate { return neverAnswered })
	for n := range 20 {
		d := f.receive(heir)
		if d.Message.UUID != strconv.Itoa(n) || n < 3 && d.Attempt != 2 {
			t.Fatalf("received %s, attempt %d, want %d", d.Message.UUID, d.Attempt, n)
		}
		if n == 0 { // It was lost there before anybody could have it here.
			for _, d := range held {
				if cause := context.Cause(d.Message.Context()); !errors.Is(cause, transport.ErrLeaseLost) {
					t.Errorf("the context of %s ended with %v", d.Message.UUID, cause)
				}
			}
		}
		f.check(heir.Settle(t.Context(), d.Ack()))
	}
	p.obey(nil)
	p.cutAll()
	f.check(silent.Settle(t.Context(), held[0].Retry(0, errors.New("late")), held[1].Ack(), held[2].DeadLetter(errors.New("late"))))
	for n := 20; n < 40; n++ {
		f.publish(strconv.Itoa(n))
	}
	f.inOrder(heir, 20, 40)
	if n := f.pending(); n != 0 {
		t.Errorf("%d are pending", n)
	}
}

// A command of an owner that has lost its topic reaches the server late.
func TestWhatAFormerOwnerReadsAllTheSameIsPutWhereItBelongs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	r := f.receiver(redis.SubscriberConfig{Exclusive: true, Lease: time.Minute})
	f.publish("0")
	f.inOrder(r, 0, 1)
	add := func(pipe goredis.Pipeliner, n int) {
		pipe.XAdd(t.Context(), &goredis.XAddArgs{Stream: "t", Values: []any{"_watermill_message_uuid", n, "metadata", "\x80", "payload", "{}"}})
	}
	_, err := f.client.TxPipelined(t.Context(), func(pipe goredis.Pipeliner) error {
		for n := 1; n < 6; n++ {
			add(pipe, n)
		}
		pipe.XReadGroup(t.Context(), &goredis.XReadGroupArgs{Group: "g", Consumer: "former", Streams: []string{"t", ">"}, Count: 3, Block: -1})
		for n := 6; n < 10; n++ {
			add(pipe, n)
		}
		return nil
	})
	f.check(err)
	f.inOrder(r, 1, 10)
}

// Replies are lost at random: what was read by a command whose reply did not arrive must
// come before what is read next.
func TestExclusiveReceiversKeepTheOrderWhenRepliesAreLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	p := newProxy(t, f.server.Addr)
	var calm atomic.Bool
	p.obey(func(cmd []string) fate { // Rules are asked one at a time.
		if calm.Load() || rnd.IntN(12) > 0 {
			return passed
		}
		return cuts[rnd.IntN(len(cuts))]
	})
	const messages = 300
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: p.client(), Group: "g", Exclusive: true, Lease: 2 * time.Second, Block: 50 * time.Millisecond, Prefetch: 20, Logger: f.logger()})
	f.check(err)
	var r transport.Receiver
	f.eventually("a receiver can be opened", func() bool { r, err = sub.Receiver("t"); return err == nil })
	published := make(chan error, 1)
	go func() {
		for n := range messages {
			if err := f.pub.Publish("t", message.NewMessage(strconv.Itoa(n), []byte("{}"))); err != nil {
				published <- err
				return
			}
		}
		published <- nil
	}()
	next, again := 0, 0
	for next < messages {
		d := f.receive(r)
		n, err := strconv.Atoi(d.Message.UUID)
		f.check(err)
		switch {
		case n == next:
			next++
		case n > next:
			t.Fatalf("received %d, want %d first", n, next)
		default:
			again++
		}
		f.check(r.Settle(t.Context(), d.Ack()))
	}
	f.check(<-published)
	t.Logf("%d came again", again)
	calm.Store(true)
	f.check(r.Close())
}

// A server that is flushed has forgotten who has which topic as well.
func TestExclusiveReceiversGoOnWhenTheServerIsFlushed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cfg := redis.SubscriberConfig{Exclusive: true, Lease: time.Second}
	receivers := []transport.Receiver{f.receiver(cfg), f.receiver(cfg)}
	f.publish("0", "1")
	d, owner := f.receiveOf(receivers[0], receivers[1])
	f.check(f.client.FlushAll(t.Context()).Err())
	f.publish("2", "3")
	// What was held is the last that there is of it.
	f.check(owner.Settle(t.Context(), d.Retry(0, errors.New("again"))))
	seen := map[string]bool{}
	for !seen["0"] || !seen["2"] || !seen["3"] {
		d, r := f.receiveOf(receivers[0], receivers[1])
		seen[d.Message.UUID] = true
		f.check(r.Settle(t.Context(), d.Ack()))
	}
}

func ExampleSubscriberConfig_exclusive() {
	client := goredis.NewClient(&goredis.Options{Addr: "localhost:6379"})
	defer client.Close()
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "billing", Exclusive: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sub.Close()
	// The router of each instance has all partitions as its Topics and reads its share of them.
	fmt.Println(transport.PartitionTopics("orders", 3))
	// Output: [orders:0 orders:1 orders:2]
}
