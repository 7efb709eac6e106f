package batching_test

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// target is a publisher that keeps calls and can fail, hang or panic.
type target struct {
	mu    sync.Mutex
	calls [][]string // ids of each call
	fail  func(topic string, msgs []*message.Message) error
}

func (p *target) Publish(topic string, msgs ...*message.Message) error {
	var ids []string
	for _, m := range msgs {
		ids = append(ids, m.UUID)
	}
	p.mu.Lock()
	p.calls = append(p.calls, ids)
	fail := p.fail
	p.mu.Unlock()
	if fail != nil {
		return fail(topic, msgs)
	}
	return nil
}

func (p *target) Close() error { return errors.New("batching must not close what it did not open") }

func (p *target) got() [][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

func msg(id, eventType string) *message.Message {
	m := message.NewMessage(id, []byte("1234567890"))
	m.Metadata[events.MetadataType] = eventType
	return m
}

func newPublisher(t testing.TB, next message.Publisher, cfg batching.Config) *batching.Publisher {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	p, err := batching.NewPublisher(next, cfg)
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

func expect(t *testing.T, out *target, want ...[]string) {
	t.Helper()
	if got := out.got(); !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("published in calls %v, want %v", got, want)
	}
}
