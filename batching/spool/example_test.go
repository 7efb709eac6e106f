package spool_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/batching/spool"
)

// server is a transport that may be away.
type server struct{ away atomic.Bool }

func (s *server) Publish(topic string, msgs ...*message.Message) error {
	if s.away.Load() {
		return errors.New("the server is away")
	}
	for _, msg := range msgs {
		fmt.Println("stored in", topic+":", msg.UUID)
	}
	return nil
}

func (s *server) Close() error { return nil }

// Publish returns nil although the server is away: the message is on disk, and is
// sent when the server is back, in order.
func Example() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	transport := &server{}
	spooled, err := spool.NewPublisher(transport, spool.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	publisher, err := batching.NewPublisher(spooled, batching.Config{})
	if err != nil {
		panic(err)
	}
	publish := func(id string) {
		fmt.Println("published", id, "with error", publisher.Publish("orders", message.NewMessage(id, []byte("{}"))))
	}
	publish("1")
	transport.away.Store(true)
	publish("2")
	publish("3")
	fmt.Println("on disk:", spooled.Stats().Messages)
	transport.away.Store(false)
	if err := spooled.Flush(context.Background()); err != nil {
		panic(err)
	}
	if err := errors.Join(publisher.Close(), spooled.Close()); err != nil {
		panic(err)
	}
	// Output:
	// stored in orders: 1
	// published 1 with error <nil>
	// published 2 with error <nil>
	// published 3 with error <nil>
	// on disk: 2
	// stored in orders: 2
	// stored in orders: 3
}
