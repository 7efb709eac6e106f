package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// With envUnpack set the test binary is a consumer of packed entries, which writes down
// in that directory what it does; see unpack. With envKill it kills itself.
const (
	envUnpack = "EVENTS_E2E_UNPACK"
	envKill   = "EVENTS_E2E_KILL"
)

// What is written down of a message, with the time: that it was received, and that a
// Settle call has returned which has acked it or moved it to the dead letters.
const (
	noteReceived = 'r'
	noteAcked    = 'a'
	noteDead     = 'd'
)

// unpackLease is long, because on a busy machine a shorter one may be lost: then
// another consumer has a message for good reason while this one is at it.
const unpackLease = 8 * time.Second

// unpack receives and settles until SIGTERM, or until it kills itself.
func unpack(addr, seedText, dir string) error {
	ctx, stop := listen()
	defer stop()
	seed, err := strconv.ParseUint(seedText, 10, 64)
	if err != nil {
		return err
	}
	u := &unpacker{rand: rand.New(rand.NewPCG(seed, 0)), life: -1}
	if os.Getenv(envKill) != "" {
		u.life, u.crash = 1+u.rand.IntN(20), u.rand.IntN(4)
	}
	if u.notes, err = os.OpenFile(filepath.Join(dir, seedText), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{
		Client: client, Group: group, Lease: unpackLease, ReclaimInterval: 500 * time.Millisecond, Block: 100 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	if u.receiver, err = sub.Receiver("t"); err != nil {
		return err
	}
	for err == nil {
		err = u.page(ctx)
	}
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, u.receiver.Close(), sub.Close(), client.Close(), u.notes.Close())
}

type unpacker struct {
	rand     *rand.Rand
	receiver transport.Receiver
	notes    *os.File
	life     int // pages until it kills itself; below zero: never
	crash    int // at which point
}

// The points at which an unpacker kills itself.
const (
	afterReceive  = iota // before anything of the page is settled
	betweenCalls         // some of it is settled
	duringSettle         // while a Settle call is at it
	betweenWrites        // it is settled, and nobody knows
)

func (u *unpacker) page(ctx context.Context) error {
	page, err := u.receiver.Receive(ctx, 1+u.rand.IntN(300))
	if err != nil {
		return err
	}
	last := u.life == 0
	u.life--
	if err := u.note(noteReceived, page...); err != nil {
		return err
	}
	u.killAt(last, afterReceive)
	u.rand.Shuffle(len(page), func(i, j int) { page[i], page[j] = page[j], page[i] })
	for first := true; len(page) > 0; first = false {
		n := 1 + u.rand.IntN(len(page))
		if last && u.crash == duringSettle && !first {
			after := time.Duration(u.rand.IntN(2000)) * time.Microsecond
			go func() {
				<-time.After(after)
				kill()
			}()
		}
		if err := u.settle(page[:n], last && !first); err != nil {
			return err
		}
		u.killAt(last, betweenCalls)
		page = page[n:]
	}
	if last { // The page was too small for the point.
		kill()
	}
	return nil
}

// settle decides at random, and writes down what cannot come again.
func (u *unpacker) settle(page []*transport.Delivery, last bool) error {
	outcomes := make([]transport.Outcome, len(page))
	var acked, dead []*transport.Delivery
	for i, d := range page {
		switch n := u.rand.IntN(200); {
		case n < 2:
			outcomes[i] = d.Retry(0, errTemporary)
		case n < 3:
			outcomes[i] = d.DeadLetter(errForever)
			dead = append(dead, d)
		case n < 4:
			outcomes[i] = d.Release()
		default:
			outcomes[i] = d.Ack()
			acked = append(acked, d)
		}
	}
	if err := u.receiver.Settle(context.Background(), outcomes...); err != nil {
		return err
	}
	u.killAt(last, betweenWrites)
	return errors.Join(u.note(noteAcked, acked...), u.note(noteDead, dead...))
}

// note writes in one go: what is written survives the process.
func (u *unpacker) note(kind byte, deliveries ...*transport.Delivery) error {
	now := time.Now().UnixNano()
	var lines bytes.Buffer
	for _, d := range deliveries {
		fmt.Fprintf(&lines, "%c %d %s\n", kind, now, d.Message.UUID)
	}
	_, err := u.notes.Write(lines.Bytes())
	return err
}

func (u *unpacker) killAt(last bool, point int) {
	if last && u.crash == point {
		kill()
	}
}

// kill is kill -9 of this process.
func kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // It does not come here.
}
