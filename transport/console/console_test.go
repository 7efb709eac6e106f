package console_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport/console"
	"github.com/logistically/events/transport/transporttest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sample(body string) *message.Message {
	msg := message.NewMessage("id-1", []byte(body))
	msg.Metadata[events.MetadataType] = "user.created"
	msg.Metadata[events.MetadataOrigin] = "web"
	return msg
}

func TestFormats(t *testing.T) {
	for _, tt := range []struct {
		format     console.Format
		body, want string
	}{
		{console.Pretty, `{"a":1}`, "user.created  user-events  id-1\n  event_origin: \"web\"\n  {\n    \"a\": 1\n  }\n"},
		{console.Pretty, "\x1b[2J", "user.created  user-events  id-1\n  event_origin: \"web\"\n  \"\\x1b[2J\"\n"},
		{console.Line, "{\n\"a\": 1}", "user-events user.created id-1 {\"a\":1}\n"},
		{console.Line, "two\nlines", "user-events user.created id-1 \"two\\nlines\"\n"},
		{console.JSON, `{"a":"<"}`, `{"topic":"user-events","id":"id-1","metadata":{"event_origin":"web","event_type":"user.created"},"body":{"a":"<"}}` + "\n"},
		{console.JSON, "\xff", `{"topic":"user-events","id":"id-1","metadata":{"event_origin":"web","event_type":"user.created"},"raw":"/w=="}` + "\n"},
	} {
		var out bytes.Buffer
		p, err := console.NewPublisher(console.PublisherConfig{Writer: &out, Format: tt.format})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Publish("user-events", sample(tt.body)); err != nil {
			t.Fatal(err)
		}
		if out.String() != tt.want {
			t.Errorf("format %d of %q:\n%s, want\n%s", tt.format, tt.body, out.String(), tt.want)
		}
	}
}

func TestWhatJSONWritesTheSubscriberReads(t *testing.T) {
	bodies := []string{`{"a":1}`, `{"a": 1 }`, "", "\xff\x00", `"\u2028"`, "null", "12"}
	var out bytes.Buffer
	p, err := console.NewPublisher(console.PublisherConfig{Writer: &out, Format: console.JSON})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		if err := p.Publish("user-events", sample(body)); err != nil {
			t.Fatal(err)
		}
		if err := p.Publish("other", sample(body)); err != nil {
			t.Fatal(err)
		}
	}
	out.WriteString("{broken\n")
	var log strings.Builder
	s, err := console.NewSubscriber(console.SubscriberConfig{Reader: &out, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := s.Subscribe(t.Context(), "user-events")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		msg := <-msgs
		if want := sample(body); !msg.Equals(want) {
			t.Errorf("read %s %v %q, want %q", msg.UUID, msg.Metadata, msg.Payload, body)
		}
		msg.Ack()
	}
	if msg, open := <-msgs; open {
		t.Errorf("one message too many: %v", msg)
	}
	if !strings.Contains(log.String(), "line=15") {
		t.Errorf("the broken line is not reported: %s", log.String())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestNackedMessageComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := console.NewSubscriber(console.SubscriberConfig{Reader: strings.NewReader(`{"id":"1","body":{}}`)})
		if err != nil {
			t.Fatal(err)
		}
		msgs, err := s.Subscribe(context.Background(), "")
		if err != nil {
			t.Fatal(err)
		}
		(<-msgs).Nack()
		(<-msgs).Ack()
		if _, open := <-msgs; open {
			t.Error("acked message came again")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestPublishFailures(t *testing.T) {
	p, err := console.NewPublisher(console.PublisherConfig{Writer: brokenPipe{}})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Publish("user-events", sample("1"), nil)
	if failed, ok := errors.AsType[*events.PublishError](err); !ok || len(failed.Failed) != 2 || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if err := p.Publish("user-events", sample("1")); !errors.Is(err, events.ErrClosed) {
		t.Errorf("publish after Close: %v", err)
	}
	if _, err := console.NewPublisher(console.PublisherConfig{Format: 9}); err == nil {
		t.Error("wrong format accepted")
	}
}

func TestNegativeSettingsAreRefused(t *testing.T) {
	for field, cfg := range map[string]console.SubscriberConfig{
		"console.SubscriberConfig.MaxLine":   {MaxLine: -1},
		"console.SubscriberConfig.NackDelay": {NackDelay: -1},
	} {
		_, err := console.NewSubscriber(cfg)
		if refused, ok := errors.AsType[*events.ConfigError](err); !ok || refused.Field != field {
			t.Errorf("%s: got %v", field, err)
		}
	}
}

func ExampleNewPublisher() {
	pub, err := console.NewPublisher(console.PublisherConfig{Format: console.Line})
	if err != nil {
		panic(err)
	}
	fmt.Println(pub.Publish("user-events", sample(`{"userId": "1"}`)))
	// Output:
	// user-events user.created id-1 {"userId":"1"}
	// <nil>
}

func TestTransport(t *testing.T) {
	transporttest.Run(t, transporttest.Harness{Publisher: func(t *testing.T) message.Publisher {
		p, err := console.NewPublisher(console.PublisherConfig{Writer: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}})
}
