package middleware_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/logistically/events"
	"github.com/logistically/events/transport"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errBoom = errors.New("boom")
	silent  = slog.New(slog.NewTextHandler(io.Discard, nil))
	full    = transport.Capabilities{DeadLetter: true, Attempts: true}
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantConfigError(t *testing.T, name string, err error) {
	t.Helper()
	if _, ok := errors.AsType[*events.ConfigError](err); !ok {
		t.Errorf("%s: got %v, want a *events.ConfigError", name, err)
	}
}

func newMessage(id string) *message.Message {
	msg := message.NewMessage(id, []byte(`{"n":1}`))
	msg.Metadata[events.MetadataType] = "user.created"
	return msg
}

// deliver puts a message into the context that our router gives it.
func deliver(msg *message.Message, attempt int, can transport.Capabilities) *message.Message {
	d := &transport.Delivery{Message: msg, Topic: "user-events", ID: "1-0", Attempt: attempt}
	msg.SetContext(transport.ContextWithDelivery(context.Background(), d, can))
	return msg
}

// handler counts its runs and returns its errors in turn, then nil.
type handler struct {
	runs int
	errs []error
}

func (h *handler) handle(*message.Message) ([]*message.Message, error) {
	h.runs++
	if h.runs <= len(h.errs) {
		return nil, h.errs[h.runs-1]
	}
	return nil, nil
}

// recorder is a publisher that keeps what it gets.
type recorder struct {
	topics   []string
	messages []*message.Message
	err      error
}

func (r *recorder) Publish(topic string, messages ...*message.Message) error {
	if r.err != nil {
		return r.err
	}
	for range messages {
		r.topics = append(r.topics, topic)
	}
	r.messages = append(r.messages, messages...)
	return nil
}

func (r *recorder) Close() error { return nil }

// watermillRun runs h in Watermill's own router with the middleware, publishes
// messages to "in" and calls until, with the pub/sub still open, before it closes all.
func watermillRun(t *testing.T, pubsub *gochannel.GoChannel, h message.HandlerFunc, mw []message.HandlerMiddleware, until func(), messages ...*message.Message) {
	t.Helper()
	r, err := message.NewRouter(message.RouterConfig{CloseTimeout: 5 * time.Second}, watermill.NopLogger{})
	must(t, err)
	r.AddMiddleware(mw...)
	r.AddHandler("the handler", "in", pubsub, "out", keepOpen{pubsub}, h)
	ran := make(chan error, 1)
	go func() { ran <- r.Run(context.Background()) }()
	<-r.Running()
	must(t, pubsub.Publish("in", messages...))
	until()
	must(t, r.Close())
	must(t, <-ran)
	must(t, pubsub.Close())
}

// keepOpen keeps Watermill's router from closing the pub/sub.
type keepOpen struct{ message.Publisher }

func (keepOpen) Close() error { return nil }

// newPubSub returns a pub/sub in memory. It keeps no order unless Publish waits
// for each message to be acked.
func newPubSub(wait bool) *gochannel.GoChannel {
	return gochannel.NewGoChannel(gochannel.Config{OutputChannelBuffer: 16, BlockPublishUntilSubscriberAck: wait}, watermill.NopLogger{})
}

func receive(t *testing.T, from <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg := <-from:
		msg.Ack()
		return msg
	case <-time.After(10 * time.Second):
		t.Fatal("nothing received in 10 s")
		return nil
	}
}
