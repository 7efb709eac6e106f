package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/outbox"
	"github.com/logistically/events/transport/memory"
)

// boxed is an outbox in a database, and a broker to forward to.
type boxed struct {
	t      *testing.T
	db     *sql.DB
	box    *outbox.Outbox
	broker *memory.Broker
	pub    message.Publisher
}

func newBoxed(t *testing.T) *boxed {
	t.Helper()
	db, err := openDatabase(filepath.Join(t.TempDir(), "outbox.db"))
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	_, box, err := effects()
	must(t, err)
	must(t, box.Setup(t.Context(), db))
	must(t, box.Setup(t.Context(), db)) // may be repeated
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	must(t, err)
	return &boxed{t, db, box, broker, pub}
}

func (b *boxed) forwarder(pub message.Publisher, batch int, lease time.Duration) *outbox.Forwarder {
	b.t.Helper()
	f, err := b.box.Forwarder(outbox.ForwarderConfig{DB: b.db, Publisher: pub, Batch: batch, Lease: lease, Poll: 5 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	must(b.t, err)
	return f
}

// inTx runs fn in a transaction and commits it, unless fn fails.
func (b *boxed) inTx(fn func(tx *sql.Tx) error) {
	b.t.Helper()
	tx, err := b.db.BeginTx(b.t.Context(), nil)
	must(b.t, err)
	if err := fn(tx); err != nil {
		must(b.t, tx.Rollback())
		return
	}
	must(b.t, tx.Commit())
}

func (b *boxed) write(from, to int) {
	b.t.Helper()
	b.inTx(func(tx *sql.Tx) error {
		var msgs []*message.Message
		for i := from; i < to; i++ {
			msg := message.NewMessage(fmt.Sprint(i), []byte("\x00binary\xff"))
			msg.Metadata["key"] = "значение"
			msgs = append(msgs, msg)
		}
		return b.box.Write(b.t.Context(), tx, "t", msgs...)
	})
}

func (b *boxed) left() (n int) {
	b.t.Helper()
	must(b.t, b.db.QueryRow("SELECT COUNT(*) FROM event_outbox").Scan(&n))
	return n
}

func (b *boxed) wantForwarded(n int) {
	b.t.Helper()
	msgs := b.broker.Messages("t")
	if len(msgs) != n || b.left() != 0 {
		b.t.Errorf("%d forwarded, want %d; %d left", len(msgs), n, b.left())
	}
	for i, msg := range msgs {
		if msg.UUID != fmt.Sprint(i) || string(msg.Payload) != "\x00binary\xff" || msg.Metadata["key"] != "значение" {
			b.t.Fatalf("message %d: %s %q %v", i, msg.UUID, msg.Payload, msg.Metadata)
		}
	}
}

func TestOutboxForwardsInOrderWhatWasCommitted(t *testing.T) {
	b := newBoxed(t)
	b.write(0, 250) // more than one statement, and one batch
	b.inTx(func(tx *sql.Tx) error {
		must(t, b.box.Write(t.Context(), tx, "t", message.NewMessage("never", nil)))
		return errors.New("roll back")
	})
	b.write(250, 300)
	f := b.forwarder(b.pub, 70, 0)
	for _, want := range []int{70, 70, 70, 70, 20, 0} {
		n, err := f.Forward(t.Context())
		must(t, err)
		if n != want {
			t.Errorf("forwarded %d, want %d", n, want)
		}
	}
	b.wantForwarded(300)
}

func TestOutboxIsAPublisherWithinATransaction(t *testing.T) {
	b := newBoxed(t)
	b.inTx(func(tx *sql.Tx) error {
		pub := b.box.Publisher(tx)
		p, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "shop"})
		must(t, err)
		must(t, p.Publish(t.Context(), "order.placed", map[string]int{"n": 1}))
		for _, err := range []error{pub.Publish("", message.NewMessage("1", nil)), pub.Publish("t", nil)} {
			if err == nil {
				t.Error("bad input was written")
			}
		}
		return nil
	})
	_, err := b.forwarder(b.pub, 0, 0).Forward(t.Context())
	must(t, err)
	if msgs := b.broker.Messages("order-events"); len(msgs) != 1 || events.HeaderOf(msgs[0]).Type != "order.placed" {
		t.Errorf("got %v", msgs)
	}
}

// failing fails for one message of a call, or for a call.
type failing struct {
	message.Publisher
	mu    sync.Mutex
	fails int
	whole bool
}

func (f *failing) Publish(topic string, msgs ...*message.Message) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails == 0 {
		return f.Publisher.Publish(topic, msgs...)
	}
	f.fails--
	down := errors.New("down")
	if f.whole {
		return down
	}
	last := len(msgs) - 1
	return errors.Join(f.Publisher.Publish(topic, msgs[:last]...), &events.PublishError{Topic: topic, Total: len(msgs), Failed: []events.FailedMessage{{Topic: topic, Message: msgs[last], Err: down}}})
}

func TestOutboxKeepsWhatCouldNotBePublished(t *testing.T) {
	for _, whole := range []bool{true, false} {
		b := newBoxed(t)
		b.write(0, 20)
		f := b.forwarder(&failing{Publisher: b.pub, fails: 3, whole: whole}, 0, 0)
		for i := range 3 {
			if _, err := f.Forward(t.Context()); err == nil {
				t.Errorf("call %d did not fail", i)
			}
			if b.left() == 0 {
				t.Fatalf("call %d: what could not be published is gone", i)
			}
		}
		_, err := f.Forward(t.Context())
		must(t, err)
		seen := map[string]bool{}
		for _, msg := range b.broker.Messages("t") {
			seen[msg.UUID] = true
		}
		if len(seen) != 20 || b.left() != 0 {
			t.Errorf("%d of 20 forwarded, %d left", len(seen), b.left())
		}
	}
}

func TestSeveralForwardersKeepTheOrder(t *testing.T) {
	b := newBoxed(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		f := b.forwarder(b.pub, 10, time.Minute)
		wg.Go(func() {
			if err := f.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		f.Wake()
	}
	for i := 0; i < 300; i += 30 {
		b.write(i, i+30)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); b.left() > 0 && time.Now().Before(deadline); {
		<-tick.C
	}
	cancel()
	wg.Wait()
	b.wantForwarded(300)
}

func TestAForwarderTakesOverWhenALeaseHasRunOut(t *testing.T) {
	b := newBoxed(t)
	b.write(0, 5)
	const lease = 300 * time.Millisecond
	dead, heir := b.forwarder(b.pub, 1, lease), b.forwarder(b.pub, 0, lease)
	begun := time.Now()
	n, err := dead.Forward(t.Context())
	must(t, err)
	if n != 1 {
		t.Fatalf("forwarded %d", n)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for n = 0; n == 0; <-tick.C {
		n, err = heir.Forward(t.Context())
		must(t, err)
	}
	if took := time.Since(begun); took < lease-10*time.Millisecond {
		t.Errorf("took over after %v, before the lease of %v had run out", took, lease)
	}
	b.wantForwarded(5)
}
