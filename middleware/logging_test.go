package middleware_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
)

func logged(t *testing.T, cfg middleware.LoggingConfig, msg *message.Message, h message.HandlerFunc) string {
	t.Helper()
	var out bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "took" {
			return slog.Attr{}
		}
		return a
	}}))
	func() {
		defer func() { _ = recover() }()
		_, _ = middleware.Logging(cfg)(h)(msg)
	}()
	return strings.TrimSpace(out.String())
}

func TestLoggingSaysWhatBecameOfAMessage(t *testing.T) {
	const about = `type=user.created event=1 topic=user-events bytes=7 outcome=`
	for want, c := range map[string]struct {
		err   error
		cause error
	}{
		`level=INFO msg="event handled" ` + about + `ack attempt=2`:                      {},
		`level=INFO msg="event handled" ` + about + `discard attempt=2 error=boom`:       {err: events.Discard(errBoom)},
		`level=WARN msg="event failed" ` + about + `retry attempt=2 error=boom`:          {err: errBoom},
		`level=INFO msg="event put off" ` + about + `snooze attempt=2 error=boom`:        {err: events.Snooze(time.Second, errBoom)},
		`level=ERROR msg="event given up" ` + about + `dead-letter attempt=2 error=boom`: {err: events.Permanent(errBoom)},
		`level=INFO msg="event put off" ` + about + `release attempt=2 error=boom`:       {err: errBoom, cause: events.ErrReleased},
		`level=INFO msg="event put off" ` + about + `lease-lost attempt=2`:               {cause: transport.ErrLeaseLost},
	} {
		msg := deliver(newMessage("1"), 2, full)
		ctx, cancel := context.WithCancelCause(msg.Context())
		msg.SetContext(ctx)
		got := logged(t, middleware.LoggingConfig{}, msg, func(*message.Message) ([]*message.Message, error) {
			if c.cause != nil {
				cancel(c.cause)
			}
			return nil, c.err
		})
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		cancel(nil)
	}
	if got := logged(t, middleware.LoggingConfig{}, newMessage("1"), func(*message.Message) ([]*message.Message, error) { panic("ouch") }); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "outcome=panic") {
		t.Errorf("a panic: %s", got)
	}
}

func TestLoggingLeavesBodiesOut(t *testing.T) {
	msg := newMessage("1")
	msg.Payload = []byte(`{"password":"secret"}`)
	msg.Metadata["authorization"] = "secret"
	quiet := (&handler{}).handle
	if got := logged(t, middleware.LoggingConfig{}, msg, quiet); strings.Contains(got, "secret") || !strings.Contains(got, "bytes=21") {
		t.Errorf("got %s", got)
	}
	body := func(msg *message.Message) string { return strings.ReplaceAll(string(msg.Payload), "secret", "***") }
	if got := logged(t, middleware.LoggingConfig{Body: body}, msg, quiet); strings.Contains(got, "secret") || !strings.Contains(got, `***`) {
		t.Errorf("got %s", got)
	}
	if got := logged(t, middleware.LoggingConfig{Level: slog.LevelDebug}, msg, quiet); got != "" {
		t.Errorf("got %s", got)
	}
}
