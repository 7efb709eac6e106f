package spool_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching/spool"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envChild); dir != "" {
		if err := child(dir, os.Getenv(envRound)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

var errDown = errors.New("down")

// target is a transport that keeps what it takes.
type target struct {
	mu    sync.Mutex
	calls int
	got   []string // UUIDs, in order
	fail  func(msgs []*message.Message) error
}

func (p *target) Publish(_ string, msgs ...*message.Message) error {
	p.mu.Lock()
	p.calls++
	fail := p.fail
	p.mu.Unlock()
	var err error
	if fail != nil {
		err = fail(msgs)
	}
	errs, _ := events.FailedOf(err, msgs)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range msgs {
		if errs[i] == nil {
			p.got = append(p.got, m.UUID)
		}
	}
	return err
}

func (p *target) Close() error { return errors.New("a spool must not close what it did not open") }

// becomes changes what the transport does from now on.
func (p *target) becomes(fail func([]*message.Message) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = fail
}

func (p *target) delivered() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

func (p *target) called() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func down([]*message.Message) error { return errDown }

// only fails the messages with these UUIDs.
func only(err error, ids ...string) func([]*message.Message) error {
	return func(msgs []*message.Message) error {
		failed := &events.PublishError{Total: len(msgs)}
		for _, m := range msgs {
			if slices.Contains(ids, m.UUID) {
				failed.Failed = append(failed.Failed, events.FailedMessage{Message: m, Err: err})
			}
		}
		if failed.Failed == nil {
			return nil
		}
		return failed
	}
}

func msg(id string) *message.Message {
	m := message.NewMessage(id, []byte("payload of "+id))
	m.Metadata["key"] = "value of " + id
	return m
}

func msgs(ids ...string) (all []*message.Message) {
	for _, id := range ids {
		all = append(all, msg(id))
	}
	return all
}

func numbered(from, to int) (ids []string) {
	for i := from; i < to; i++ {
		ids = append(ids, fmt.Sprint(i))
	}
	return ids
}

func open(t testing.TB, next message.Publisher, cfg spool.Config) *spool.Publisher {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	p, err := spool.NewPublisher(next, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, out *target, want ...string) {
	t.Helper()
	if got := out.delivered(); !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}
