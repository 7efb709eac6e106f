package spool_test

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"slices"
	"syscall"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
)

var background = context.Background()

// runIntoLimit publishes, while the transport is down, until the system refuses to
// let files grow, then without that limit, and sends it all.
func runIntoLimit(dir string, out log) error {
	signal.Ignore(syscall.SIGXFSZ)
	healthy := &flaky{out: out, healthy: true}
	transport := &target{fail: down}
	p, err := childSpool(dir, transport)
	if err != nil {
		return err
	}
	var free syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &free); err != nil {
		return err
	}
	// It is within a record of the first file.
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1234, Max: free.Max}); err != nil {
		return err
	}
	n := 0
	publish := func() error { err := p.Publish("t", msg(fmt.Sprint(n))); n++; return err }
	for err == nil {
		err = publish()
	}
	if !errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("publishing on a full disk: %w", err)
	}
	fmt.Println("refused:", n-1)
	if err := errors.Join(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &free), publish()); err != nil {
		return err
	}
	fmt.Println("accepted:", n-1)
	transport.becomes(func(msgs []*message.Message) error { return healthy.Publish("t", msgs...) })
	return errors.Join(p.Flush(background), p.Close())
}

// The limit is one of the whole process, so it is another one.
func TestAFileThatMayNotGrowRefusesAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	cmd := childProcess(t, dir, "full")
	said, err := cmd.Output()
	check(t, err)
	var refused, last int
	_, err = fmt.Sscanf(string(said), "refused: %d\naccepted: %d", &refused, &last)
	check(t, err)
	want := append(numbered(0, refused), fmt.Sprint(last))
	if got := linesOf(t, dir, "delivered"); !slices.Equal(got, want) || refused < 5 {
		t.Errorf("delivered %v, want %v", got, want)
	}
}
