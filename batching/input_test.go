package batching_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
)

func TestANegativeSettingIsRefused(t *testing.T) {
	for field, cfg := range map[string]batching.Config{
		"Mode":                 {Mode: -1},
		"Full":                 {Full: -1},
		"MaxSize":              {MaxSize: -1},
		"MaxBytes":             {MaxBytes: -1},
		"MaxWait":              {MaxWait: -1},
		"MaxConcurrentBatches": {MaxConcurrentBatches: -1},
		"MaxBuffered":          {MaxBuffered: -1},
		"MaxBufferedBytes":     {MaxBufferedBytes: -1},
	} {
		_, err := batching.NewPublisher(&target{}, cfg)
		if bad, ok := errors.AsType[*events.ConfigError](err); !ok || bad.Field != "batching.Config."+field || bad.Remedy == "" {
			t.Errorf("%s: error %v", field, err)
		}
	}
}

func TestAModeOrPolicyThatThereIsNotIsRefused(t *testing.T) {
	for _, cfg := range []batching.Config{{Mode: 2}, {Full: 2}} {
		if _, err := batching.NewPublisher(&target{}, cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

func TestABufferThatCannotTakeTheLargestMessageIsRefused(t *testing.T) {
	_, err := batching.NewPublisher(&target{}, batching.Config{MaxBytes: 100, MaxBufferedBytes: 99})
	if bad, ok := errors.AsType[*events.ConfigError](err); !ok || bad.Field != "batching.Config.MaxBufferedBytes" {
		t.Errorf("error %v", err)
	}
}

func TestZeroSettingsAreDefaults(t *testing.T) {
	for _, mode := range []batching.Mode{batching.Wait, batching.Buffered} {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: mode})
		large := msg("large", "a")
		large.Payload = make([]byte, 1<<20)
		check(t, p.Publish("t", large))
		large = msg("too large", "a")
		large.Payload = make([]byte, 1<<20+1)
		if err := p.Publish("t", large); !errors.Is(err, events.ErrTooLarge) {
			t.Errorf("error %v", err)
		}
		check(t, p.Close())
		expect(t, out, []string{"large"})
	}
}

// The others of the call go out, in both modes.
func TestAMessageLargerThanMaxBytesIsRefusedAndNoOther(t *testing.T) {
	for _, mode := range []batching.Mode{batching.Wait, batching.Buffered} {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: mode, MaxBytes: 30})
		large := msg("large", "a")
		large.Payload = make([]byte, 31)
		failed, ok := errors.AsType[*events.PublishError](p.Publish("t", msg("1", "a"), large, msg("2", "a")))
		if !ok || len(failed.Failed) != 1 || failed.Failed[0].Message != large || !errors.Is(failed, events.ErrTooLarge) {
			t.Errorf("error %v", failed)
		}
		check(t, p.Close())
		expect(t, out, []string{"1", "2"})
		if len(p.FailedMessages()) > 0 {
			t.Error("what was refused is kept: the caller has it")
		}
	}
}

func TestPublishAfterCloseIsRefused(t *testing.T) {
	for _, mode := range []batching.Mode{batching.Wait, batching.Buffered} {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: mode})
		check(t, p.Close())
		check(t, p.Close())
		for _, msgs := range [][]*message.Message{{msg("1", "a")}, {msg("1", "a"), msg("2", "b")}} {
			failed, ok := errors.AsType[*events.PublishError](p.Publish("t", msgs...))
			if !ok || !errors.Is(failed, events.ErrClosed) || len(failed.Failed) != len(msgs) {
				t.Errorf("error %v", failed)
			}
		}
		expect(t, out)
	}
}

func TestANilMessageIsRefusedAndNothingIsPublished(t *testing.T) {
	for _, mode := range []batching.Mode{batching.Wait, batching.Buffered} {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: mode})
		if err := p.Publish("t", msg("1", "a"), nil); err == nil {
			t.Error("a nil message is accepted")
		}
		check(t, p.Publish("t"))
		check(t, p.Close())
		expect(t, out)
	}
}

func TestAContextThatEndsWhileWaitingForASlotIsToldAndNothingIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &target{fail: func(string, []*message.Message) error { <-time.After(time.Minute); return nil }}
		p := newPublisher(t, out, batching.Config{MaxConcurrentBatches: 1})
		first := make(chan error, 1)
		go func() { first <- p.Publish("t", msg("1", "a")) }()
		synctest.Wait()
		m := msg("2", "another type")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		m.SetContext(ctx)
		start := time.Now()
		if err := p.Publish("t", m); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		check(t, <-first)
		check(t, p.Close())
		expect(t, out, []string{"1"})
	})
}
