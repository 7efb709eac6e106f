package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// With envHold set the test binary is a consumer that holds what it is given; see hold.
const envHold = "EVENTS_E2E_HOLD"

const (
	holdLease   = 2 * time.Second
	holdReclaim = 500 * time.Millisecond
)

func holding(client goredis.UniversalClient) redis.SubscriberConfig {
	return redis.SubscriberConfig{Client: client, Group: group, Lease: holdLease, ReclaimInterval: holdReclaim, Block: 100 * time.Millisecond}
}

// hold receives as many messages as it is told and says so. Of the last one it then says how
// its context ends, or, if a line comes in before that, acks it at once; and what came of that.
func hold(addr, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	sub, err := redis.NewSubscriber(holding(client))
	if err != nil {
		return err
	}
	r, err := sub.Receiver("t")
	if err != nil {
		return err
	}
	var last *transport.Delivery
	for range n {
		page, err := r.Receive(context.Background(), 1)
		if err != nil {
			return err
		}
		last = page[0]
	}
	told := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		told <- err
		close(told)
	}()
	fmt.Println("holding")
	if os.Getenv(envHold) == "until told" {
		if err := <-told; err != nil {
			return err
		}
	} else {
		<-last.Message.Context().Done()
		fmt.Println("context:", context.Cause(last.Message.Context()))
	}
	fmt.Println("settled:", r.Settle(context.Background(), last.Ack()))
	return errors.Join(<-told, r.Close(), sub.Close(), client.Close())
}

// holder is a process that runs hold.
type holder struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

func startHolder(t *testing.T, addr, how string, n int) *holder {
	t.Helper()
	h := &holder{t: t, cmd: exec.Command(os.Args[0])}
	h.cmd.Env = append(os.Environ(), envRedis+"="+addr, envHold+"="+how, fmt.Sprintf("%s=%d", envSeed, n))
	h.cmd.Stderr = os.Stderr
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	h.lines = bufio.NewScanner(out)
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.kill)
	h.says("holding")
	return h
}

// kill is kill -9; it may be called twice.
func (h *holder) kill() {
	if h.cmd.ProcessState == nil {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait() // It says that it was killed.
	}
}

func (h *holder) says(want string) {
	h.t.Helper()
	if !h.lines.Scan() || !strings.Contains(h.lines.Text(), want) {
		h.t.Fatalf("the consumer says %q (%v), want %q", h.lines.Text(), h.lines.Err(), want)
	}
}

func (h *holder) tell() {
	h.t.Helper()
	if _, err := h.in.Write([]byte("go on\n")); err != nil {
		h.t.Fatal(err)
	}
}

func (h *holder) signal(sig os.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(sig); err != nil {
		h.t.Fatal(err)
	}
}

// house is a server with a client on it.
type house struct {
	t      *testing.T
	addr   string
	client *goredis.Client
}

func newHouse(t *testing.T, published int) *house {
	t.Helper()
	h := &house{t: t, addr: redisserver.New(t).Addr}
	h.client = goredis.NewClient(&goredis.Options{Addr: h.addr})
	t.Cleanup(func() { h.check(h.client.Close()) })
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: h.client})
	h.check(err)
	msgs := make([]*message.Message, published)
	for i := range msgs {
		msgs[i] = message.NewMessage(fmt.Sprint(i), nil)
	}
	h.check(pub.Publish("t", msgs...))
	return h
}

func (h *house) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) receiver() transport.Receiver {
	h.t.Helper()
	sub, err := redis.NewSubscriber(holding(h.client))
	h.check(err)
	r, err := sub.Receiver("t")
	h.check(err)
	h.t.Cleanup(func() { h.check(r.Close()) })
	return r
}

func (h *house) receive(r transport.Receiver, most int) []*transport.Delivery {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 20*time.Second)
	defer cancel()
	page, err := r.Receive(ctx, most)
	h.check(err)
	return page
}

func TestWhatAKilledConsumerHeldIsReclaimedWithinALeaseAndAnInterval(t *testing.T) {
	const n = 500
	h := newHouse(t, n)
	killed := startHolder(t, h.addr, "", n)
	heir := h.receiver()
	killed.kill()
	start := time.Now()
	got := map[string]int{}
	for len(got) < n {
		page := h.receive(heir, n)
		took := time.Since(start)
		if len(got) == 0 {
			// The last lease may have been renewed just before the kill; the machine may be busy.
			if most := holdLease + holdReclaim; took > most+time.Second {
				t.Errorf("the first came after %v, want at most %v", took, most)
			}
			t.Logf("the first came after %v", took)
		}
		acks := make([]transport.Outcome, len(page))
		for i, d := range page {
			got[d.Message.UUID]++
			if acks[i] = d.Ack(); d.Attempt != 2 || got[d.Message.UUID] > 1 {
				t.Errorf("%s: attempt %d, the %dth time", d.Message.UUID, d.Attempt, got[d.Message.UUID])
			}
		}
		h.check(heir.Settle(t.Context(), acks...))
	}
	t.Logf("all %d came after %v", n, time.Since(start))
	if took, most := time.Since(start), holdLease+holdReclaim; took > most+2*time.Second {
		t.Errorf("all came after %v, want at most %v", took, most)
	}
	if p := h.client.XPending(t.Context(), "t", group).Val(); p.Count != 0 {
		t.Errorf("%d entries are pending", p.Count)
	}
}

// It finds out by itself, or it acks before it can.
func TestAConsumerThatWasStoppedForTwoLeasesChangesNothingWhenItWakes(t *testing.T) {
	for _, how := range []string{"until its context ends", "until told"} {
		t.Run(how, func(t *testing.T) {
			h := newHouse(t, 1)
			stopped := startHolder(t, h.addr, how, 1)
			stopped.signal(syscall.SIGSTOP)
			heir := h.receiver()
			start := time.Now()
			d := h.receive(heir, 1)[0]
			if d.Attempt != 2 {
				t.Errorf("attempt %d", d.Attempt)
			}
			<-time.After(2*holdLease - time.Since(start))
			stopped.tell()
			stopped.signal(syscall.SIGCONT)
			if how != "until told" {
				stopped.says("context: " + transport.ErrLeaseLost.Error())
			}
			stopped.says("settled: <nil>")
			p, err := h.client.XPendingExt(t.Context(), &goredis.XPendingExtArgs{Stream: "t", Group: group, Start: "-", End: "+", Count: 10}).Result()
			h.check(err)
			if len(p) != 1 || p[0].ID != d.ID || p[0].RetryCount != 2 {
				t.Errorf("pending %+v, want it the heir's still", p)
			}
			if err := context.Cause(d.Message.Context()); err != nil {
				t.Errorf("the context of the heir has ended: %v", err)
			}
			h.check(heir.Settle(t.Context(), d.Ack()))
			if err := stopped.cmd.Wait(); err != nil {
				t.Errorf("the consumer ended with %v", err)
			}
		})
	}
}

func TestP10_AHandlersErrorIsNeverAckedWithoutARetryOrADeadLetter(t *testing.T) {
	h := newHouse(t, 2)
	sub, err := redis.NewSubscriber(holding(h.client))
	h.check(err)
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, RetryDelay: func(int) time.Duration { return time.Hour }})
	h.check(err)
	handled := make(chan struct{}, 2)
	h.check(r.HandleMessage("**", func(msg *message.Message) error {
		handled <- struct{}{}
		if msg.UUID == "0" {
			return errTemporary
		}
		return events.Permanent(errForever)
	}))
	ctx, stop := context.WithCancel(t.Context())
	running := make(chan error, 1)
	go func() { running <- r.Run(ctx) }()
	<-handled
	<-handled
	stop()
	h.check(<-running)
	h.check(sub.Close())
	retries, dead := h.client.ZCard(t.Context(), "{t}:delay:"+group).Val(), h.client.XLen(t.Context(), transport.DeadLetterTopic("t")).Val()
	if retries != 1 || dead != 1 {
		t.Errorf("%d retries and %d dead letters are stored, want one of each", retries, dead)
	}
	if p := h.client.XPending(t.Context(), "t", group).Val(); p.Count != 0 {
		t.Errorf("%d entries are pending", p.Count)
	}
}
