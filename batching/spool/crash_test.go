package spool_test

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching/spool"
)

// With envChild set, the test binary is a process with a spool in that directory.
const (
	envChild = "EVENTS_SPOOL_CHILD"
	envRound = "EVENTS_SPOOL_ROUND"
)

const (
	keys    = 3
	maxSize = 7
)

// child publishes until it is killed, over a transport that fails now and then,
// and writes down what Publish has accepted. In the last round it only sends what
// is left. In the one of the full disk, see runIntoLimit.
func child(dir, round string) error {
	out, err := openLog(filepath.Join(dir, "delivered"))
	if err != nil {
		return err
	}
	if round == "full" {
		return runIntoLimit(dir, out)
	}
	accepted, err := openLog(filepath.Join(dir, "accepted"))
	if err != nil {
		return err
	}
	accepted.said = true
	p, err := childSpool(dir, &flaky{out: out, healthy: round == "last"})
	if err != nil {
		return err
	}
	if round == "last" {
		return errors.Join(p.Flush(background), p.Close())
	}
	failures := make(chan error)
	for key := range keys {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%s/%d %d", round, key, n)
				err := p.Publish("t", msg(id))
				if err == nil {
					err = accepted.write(id)
				}
				if err != nil {
					failures <- err
					return
				}
			}
		}()
	}
	return <-failures
}

func childSpool(dir string, next message.Publisher) (*spool.Publisher, error) {
	return spool.NewPublisher(next, spool.Config{
		Dir: filepath.Join(dir, "spool"), MaxSize: maxSize, SegmentBytes: 2000, RetryInterval: 1000,
		Logger: slog.New(slog.DiscardHandler),
		OnDamage: func(d spool.Damage) {
			if !d.Torn {
				panic(fmt.Sprintf("a crash has damaged what was accepted: %+v", d))
			}
		},
	})
}

// log is a file of lines, which are there when write returns, whatever becomes of
// the process.
type log struct {
	f    *os.File
	said bool // Each line is printed, too.
}

func openLog(path string) (log, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	return log{f: f}, err
}

func (l log) write(line string) error {
	_, err := l.f.WriteString(line + "\n")
	if l.said {
		fmt.Println(line)
	}
	return err
}

// flaky is a transport that is up and down for some calls each, and takes some
// messages of a call only.
type flaky struct {
	mu      sync.Mutex
	out     log
	healthy bool
	up      bool
	until   int
}

func (p *flaky) Publish(_ string, msgs ...*message.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until--; p.until < 0 {
		p.up, p.until = !p.up, rand.IntN(20)
	}
	if !p.up && !p.healthy {
		return errDown
	}
	from := len(msgs)
	if !p.healthy {
		from = rand.IntN(len(msgs) + 1)
	}
	failed := &events.PublishError{Total: len(msgs)}
	for i, m := range msgs {
		if i < from {
			if err := p.out.write(m.UUID); err != nil {
				return err
			}
			continue
		}
		failed.Failed = append(failed.Failed, events.FailedMessage{Message: m, Err: errDown})
	}
	if failed.Failed == nil {
		return nil
	}
	return failed
}

func (p *flaky) Close() error { return nil }

func childProcess(t *testing.T, dir, round string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envChild+"="+dir, envRound+"="+round)
	cmd.Stderr = os.Stderr
	return cmd
}

// runKilled starts a child and kills it when it has accepted so many.
func runKilled(t *testing.T, dir, round string, after int) {
	t.Helper()
	cmd := childProcess(t, dir, round)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for range after {
		if !lines.Scan() {
			break
		}
	}
	check(t, cmd.Process.Kill())
	for lines.Scan() { // What it has said before it died, lest it waits to say it.
	}
	if exit, ok := errors.AsType[*exec.ExitError](cmd.Wait()); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("round %s ended by itself: %v", round, exit)
	}
}

func linesOf(t *testing.T, dir, name string) []string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, name))
	check(t, err)
	return strings.Split(strings.TrimSpace(string(content)), "\n")
}

func TestKillLosesNothingThatWasAcceptedAndKeepsTheOrder(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	const kills = 20
	for round := range kills {
		runKilled(t, dir, fmt.Sprint(round), 1+rnd.IntN(300))
	}
	last := childProcess(t, dir, "last")
	check(t, last.Run())

	times, latest := map[string]int{}, map[string]int{}
	for _, id := range linesOf(t, dir, "delivered") {
		if times[id]++; times[id] > 1 {
			continue
		}
		var key string
		var n int
		_, err := fmt.Sscan(id, &key, &n)
		check(t, err)
		if before, ok := latest[key]; ok && n < before {
			t.Errorf("%s was delivered after number %d", id, before)
		}
		latest[key] = n
	}
	accepted, twice := linesOf(t, dir, "accepted"), 0
	for _, id := range accepted {
		if times[id] == 0 {
			t.Errorf("%s was accepted and is lost", id)
		}
	}
	for _, n := range times {
		twice += n - 1
	}
	if twice > kills*maxSize {
		t.Errorf("%d were delivered twice, want %d a kill at most", twice, maxSize)
	}
	if held := held(t, dir); held.Messages != 0 {
		t.Errorf("left in the spool: %+v", held)
	}
	t.Logf("%d accepted, %d delivered, %d of them twice, %d kills", len(accepted), len(times), twice, kills)
}

// held opens the spool of a child that has ended.
func held(t *testing.T, dir string) spool.Stats {
	t.Helper()
	p, err := childSpool(dir, &target{fail: down})
	check(t, err)
	defer func() { check(t, p.Close()) }()
	return p.Stats()
}
