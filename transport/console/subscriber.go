package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
)

// SubscriberConfig configures [NewSubscriber].
type SubscriberConfig struct {
	// Reader has the lines, as the JSON format writes them. Nil means os.Stdin.
	Reader io.Reader
	// MaxLine is how long a line may be, in bytes. Zero means 16 MiB.
	MaxLine int
	// NackDelay is how long a nacked message waits before it comes again. Zero
	// means 100 ms.
	NackDelay time.Duration
	// Logger gets lines that are no events. Nil means slog.Default().
	Logger *slog.Logger
}

// Subscriber reads events from JSON lines, one message at a time. What it has
// read is gone: it has no groups, and a message that is not acked before the end
// is not kept anywhere.
type Subscriber struct {
	cfg SubscriberConfig

	mu      sync.Mutex
	used    bool
	closing chan struct{}
	closed  sync.Once
	running sync.WaitGroup
}

// NewSubscriber returns a Subscriber, or a *events.ConfigError.
func NewSubscriber(cfg SubscriberConfig) (*Subscriber, error) {
	if cfg.MaxLine < 0 {
		return nil, &events.ConfigError{Field: "console.SubscriberConfig.MaxLine", Value: cfg.MaxLine, Problem: "is negative", Remedy: "set a number of bytes, or 0 for 16 MiB"}
	}
	if cfg.NackDelay < 0 {
		return nil, &events.ConfigError{Field: "console.SubscriberConfig.NackDelay", Value: cfg.NackDelay, Problem: "is negative", Remedy: "set a duration, or 0 for 100 ms"}
	}
	if cfg.Reader == nil {
		cfg.Reader = os.Stdin
	}
	if cfg.MaxLine == 0 {
		cfg.MaxLine = 16 << 20
	}
	if cfg.NackDelay == 0 {
		cfg.NackDelay = 100 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Subscriber{cfg: cfg, closing: make(chan struct{})}, nil
}

// Subscribe implements message.Subscriber: it hands over the messages of the
// topic, or of all topics if topic is empty, and closes the channel at the end of
// the input. A reader can be read once: a second call is an error.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
		return nil, fmt.Errorf("console: subscriber %w", events.ErrClosed)
	default:
	}
	if s.used {
		return nil, errors.New("console: the input is being read already: make a subscriber for each reader")
	}
	s.used = true
	out := make(chan *message.Message)
	ctx, cancel := context.WithCancel(ctx)
	s.running.Go(func() {
		defer close(out)
		defer cancel()
		s.read(ctx, topic, out)
	})
	return out, nil
}

func (s *Subscriber) read(ctx context.Context, topic string, out chan<- *message.Message) {
	lines := bufio.NewScanner(s.cfg.Reader)
	lines.Buffer(nil, s.cfg.MaxLine)
	for n := 1; lines.Scan(); n++ {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil || r.ID == "" && r.Body == nil && r.Raw == nil {
			s.cfg.Logger.Warn("console: a line is no event and is left out", "line", n, "error", err)
			continue
		}
		if topic != "" && r.topic() != topic {
			continue
		}
		if !s.deliver(ctx, r, out) {
			return
		}
	}
	if err := lines.Err(); err != nil {
		s.cfg.Logger.Error("console: reading ends", "error", err)
	}
}

// deliver hands a message over until it is acked.
func (s *Subscriber) deliver(ctx context.Context, r record, out chan<- *message.Message) bool {
	for {
		msg := r.message()
		msgCtx, cancel := context.WithCancel(ctx)
		msg.SetContext(msgCtx)
		acked, open := s.hand(ctx, msg, out)
		cancel()
		if acked || !open {
			return open
		}
		timer := time.NewTimer(s.cfg.NackDelay)
		select {
		case <-timer.C:
		case <-s.closing:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (s *Subscriber) hand(ctx context.Context, msg *message.Message, out chan<- *message.Message) (acked, open bool) {
	select {
	case out <- msg:
	case <-s.closing:
		return false, false
	case <-ctx.Done():
		return false, false
	}
	select {
	case <-msg.Acked():
		return true, true
	case <-msg.Nacked():
		return false, true
	case <-s.closing:
		return false, false
	case <-ctx.Done():
		return false, false
	}
}

// Close ends the subscription and waits for it: for the next line, if the
// reader is waiting for one. It does not close the reader and may be called twice.
func (s *Subscriber) Close() error {
	s.closed.Do(func() { close(s.closing) })
	s.running.Wait()
	return nil
}
