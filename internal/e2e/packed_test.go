package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

const (
	packedMessages = 100_000
	packedKills    = 20
)

func TestPackedMessagesSurviveConsumersThatAreKilled(t *testing.T) {
	seed := uint64(time.Now().UnixNano() % 1_000_000)
	t.Logf("seed %d", seed)
	h := &house{t: t, addr: redisserver.New(t).Addr}
	h.client = goredis.NewClient(&goredis.Options{Addr: h.addr})
	t.Cleanup(func() { h.check(h.client.Close()) })
	h.publishPacked()
	dir := t.TempDir()
	start := func(killed bool) *exec.Cmd {
		seed++
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), envRedis+"="+h.addr, envUnpack+"="+dir, fmt.Sprintf("%s=%d", envSeed, seed))
		if killed {
			cmd.Env = append(cmd.Env, envKill+"=1")
		}
		cmd.Stderr = os.Stderr
		h.check(startListening(cmd))
		t.Cleanup(func() { _ = cmd.Process.Kill() }) // Most often it has ended.
		return cmd
	}
	begun := time.Now()
	ended := make(chan error)
	wait := func(cmd *exec.Cmd) { ended <- cmd.Wait() }
	go wait(start(true))
	go wait(start(true))
	kills := 0
	for running := 2; running > 0; running-- {
		err := <-ended
		if status, ok := err.(*exec.ExitError); !ok || status.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("a consumer ended by itself: %v", err)
		}
		if kills++; kills+running-1 < packedKills {
			go wait(start(true))
			running++
		}
	}
	t.Logf("%d kills after %v", kills, time.Since(begun))
	last := start(false)
	h.untilSettled()
	h.check(last.Process.Signal(syscall.SIGTERM))
	h.check(last.Wait())
	t.Logf("all is settled after %v", time.Since(begun))
	h.compare(readNotes(t, dir))
	if n := h.client.HLen(t.Context(), "{t}:progress:"+group).Val(); n != 0 {
		t.Errorf("progress of %d entries is left", n)
	}
}

func (h *house) publishPacked() {
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: h.client, Pack: &redis.PackConfig{}})
	h.check(err)
	msgs := make([]*message.Message, packedMessages)
	for i := range msgs {
		msgs[i] = message.NewMessage(strconv.Itoa(i), fmt.Appendf(nil, `{"n":%d}`, i))
	}
	h.check(pub.Publish("t", msgs...))
	if n := h.client.XLen(h.t.Context(), "t").Val(); n != packedMessages/100 {
		h.t.Fatalf("%d entries", n)
	}
}

// untilSettled waits until the group has nothing left.
func (h *house) untilSettled() {
	h.t.Helper()
	ctx := h.t.Context()
	left := func() (n int64) {
		for _, g := range h.client.XInfoGroups(ctx, "t").Val() {
			n += g.Pending + max(g.Lag, 0)
		}
		return n + h.client.XLen(ctx, "{t}:retry:"+group).Val() + h.client.ZCard(ctx, "{t}:delay:"+group).Val()
	}
	deadline := time.After(3 * time.Minute)
	for left() > 0 {
		select {
		case <-deadline:
			h.t.Fatalf("%d are left", left())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// notes are when things happened to each message, in nanoseconds; zero: never.
type notes struct {
	received      int
	last          int64 // when it was received
	acked, buried int64 // when it was first settled for good
}

func readNotes(t *testing.T, dir string) []notes {
	t.Helper()
	all := make([]notes, packedMessages)
	paths, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var kind rune
			var at int64
			var number int
			if _, err := fmt.Sscanf(lines.Text(), "%c %d %d", &kind, &at, &number); err != nil {
				t.Fatalf("%s: %q: %v", path, lines.Text(), err)
			}
			n := &all[number]
			switch kind {
			case noteReceived:
				n.received++
				n.last = max(n.last, at)
			case noteAcked:
				n.acked = earlier(n.acked, at)
			case noteDead:
				n.buried = earlier(n.buried, at)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func earlier(first, at int64) int64 {
	if first == 0 {
		return at
	}
	return min(first, at)
}

// compare holds what consumers have seen to what must be.
func (h *house) compare(all []notes) {
	t := h.t
	dead := map[string]int{}
	letters, err := h.client.XRange(t.Context(), transport.DeadLetterTopic("t"), "-", "+").Result()
	h.check(err)
	for _, e := range letters {
		dead[fmt.Sprint(e.Values["_watermill_message_uuid"])]++
	}
	again := 0
	for i, n := range all {
		id := strconv.Itoa(i)
		switch {
		case n.received == 0:
			t.Errorf("message %d was never received", i)
		case n.acked > 0 && n.last > n.acked, n.buried > 0 && n.last > n.buried:
			t.Errorf("message %d came again %v after it was settled", i, time.Duration(n.last-max(n.acked, n.buried)))
		case n.buried > 0 && dead[id] != 1, n.acked > 0 && dead[id] > 0, dead[id] > 1:
			t.Errorf("message %d is %d times among the dead letters: %+v", i, dead[id], n)
		}
		again += max(n.received-1, 0)
		if t.Failed() && again > 100 {
			t.FailNow() // That is enough of it.
		}
	}
	t.Logf("%d deliveries of %d messages came again, %d dead letters", again, packedMessages, len(letters))
}
