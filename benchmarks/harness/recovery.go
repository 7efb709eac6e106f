package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// childVariable tells this program that it is a consumer that will be killed.
const childVariable = "EVENTS_BENCH_CHILD"

// child is what such a consumer is told.
type child struct {
	Contestant string
	Env        Env
	Group      string
}

// Child runs the consumer that measureRecovery kills, if this process was started
// to be one; main calls it first. It holds every message that it gets and
// prints how many those are.
func Child(contestants []Contestant) (wasChild bool, err error) {
	text := os.Getenv(childVariable)
	if text == "" {
		return false, nil
	}
	var told child
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		return true, fmt.Errorf("%s: %w", childVariable, err)
	}
	at := slices.IndexFunc(contestants, func(c Contestant) bool { return c.Name == told.Contestant })
	if at < 0 {
		return true, fmt.Errorf("%s: no contestant %q", childVariable, told.Contestant)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // The parent is gone when its end of the pipe is.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	system, err := contestants[at].Open(ctx, told.Env)
	if err != nil {
		return true, err
	}
	var held atomic.Int64
	err = system.Consume(ctx, told.Group, func(ctx context.Context, _ []byte) error {
		fmt.Println("held", held.Add(1))
		<-ctx.Done()
		return ctx.Err()
	})
	return true, errors.Join(err, system.Close())
}

// measureRecovery kills a consumer process with SIGKILL while it holds messages,
// and measures how long it takes until another one has handled all of them.
func measureRecovery(ctx context.Context, s *stage) (Sample, error) {
	const group = "recovery"
	want := max(s.scenario.Load.InFlight, 1)
	if err := s.fill(ctx, 0, want); err != nil {
		return Sample{}, err
	}
	told, err := json.Marshal(child{s.contestant.Name, s.env(), group})
	if err != nil {
		return Sample{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return Sample{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	process := exec.CommandContext(ctx, self)
	process.Env = append(os.Environ(), childVariable+"="+string(told))
	process.Stderr = os.Stderr
	if _, err := process.StdinPipe(); err != nil {
		return Sample{}, err
	}
	out, err := process.StdoutPipe()
	if err != nil {
		return Sample{}, err
	}
	if err := process.Start(); err != nil {
		return Sample{}, fmt.Errorf("start the consumer to be killed: %w", err)
	}
	held := awaitHeld(out, want)
	killed := time.Now()
	err = process.Process.Kill()
	if waitErr := process.Wait(); waitErr == nil {
		err = errors.Join(err, errors.New("the consumer to be killed ended by itself"))
	}
	if held == 0 {
		err = errors.Join(err, errors.New("the consumer to be killed never got a message"))
	}
	if err != nil {
		return Sample{}, err
	}
	all := newTally(0, want)
	running := s.consume(ctx, group, s.handler(all))
	if err := errors.Join(running.await(ctx, all), running.stop()); err != nil {
		return Sample{}, err
	}
	_, last, duplicates := all.span()
	took := last.Sub(killed)
	return Sample{Messages: want, Seconds: took.Seconds(), Figure: float64(took.Microseconds()) / 1000, Duplicates: duplicates}, nil
}

// awaitHeld reads how many messages the child holds until it has all it will
// take: as many as there are, or no more for a moment. It must be short: where no
// lease is renewed, the time until somebody else may claim runs already.
func awaitHeld(out io.Reader, want int) (held int) {
	counts := make(chan int)
	go func() {
		defer close(counts)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var n int
			if _, err := fmt.Sscan(strings.TrimPrefix(lines.Text(), "held "), &n); err == nil {
				counts <- n
			}
		}
	}()
	defer func() {
		go func() { // until the process is killed, which ends its output
			for range counts {
			}
		}()
	}()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for held < want {
		select {
		case n, ok := <-counts:
			if !ok {
				return held
			}
			held = max(held, n)
			limit.Reset(100 * time.Millisecond)
		case <-limit.C:
			return held
		}
	}
	return held
}
