package contestants

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	goredis "github.com/redis/go-redis/v9"
)

// eventType is what all messages of a measurement are.
const eventType = "bench.event"

// ours is this library as a harness.System, over any of its transports.
type ours struct {
	topic     string
	load      harness.Load
	transport message.Publisher // beneath the batching decorator, if there is one
	bulk      message.Publisher
	facade    *events.Publisher
	// subscriber makes the subscriber of a group.
	subscriber func(group string) (message.Subscriber, error)
	consume    consumer
	stored     func(ctx context.Context) (int, error)
	client     goredis.UniversalClient // nil without Redis
	close      func() error
}

// consumer is a way of ours to consume.
type consumer func(ctx context.Context, o *ours, group string, sub message.Subscriber, handle harness.Handler) error

// publishTo builds the typed publisher over what the transport offers.
func (o *ours) publishTo(pub message.Publisher) (err error) {
	o.transport, o.bulk = pub, pub
	return o.build()
}

// build makes the facade: header, hash and codec are part of what is measured.
func (o *ours) build() (err error) {
	o.facade, err = events.NewPublisher(o.bulk, events.PublisherConfig{
		Origin: "bench", MaxBodyBytes: 64 << 20, Topic: func(string) string { return o.topic },
	})
	return err
}

// batch puts the batching decorator in between.
func (o *ours) batch(cfg batching.Config) error {
	batches, err := batching.NewPublisher(o.transport, cfg)
	if err != nil {
		return err
	}
	o.bulk = batches
	return o.build()
}

func (o *ours) Publish(ctx context.Context, bodies [][]byte) error {
	if len(bodies) == 1 {
		return o.facade.Publish(ctx, eventType, json.RawMessage(bodies[0]))
	}
	return events.PublishAll(ctx, o.facade, eventType, bodies)
}

// Flush implements harness.Flusher, for the batching decorator.
func (o *ours) Flush(ctx context.Context) error {
	if batches, ok := o.bulk.(*batching.Publisher); ok {
		return batches.Flush(ctx)
	}
	return nil
}

func (o *ours) Consume(ctx context.Context, group string, handle harness.Handler) error {
	sub, err := o.subscriber(group)
	if err != nil {
		return err
	}
	return errors.Join(o.consume(ctx, o, group, sub, handle), sub.Close())
}

func (o *ours) Stored(ctx context.Context) (int, error) { return o.stored(ctx) }

func (o *ours) Close() error {
	err := o.bulk.Close()
	if o.bulk != o.transport {
		err = errors.Join(err, o.transport.Close())
	}
	return errors.Join(err, o.close())
}

// byReceiver is the transport alone: pages, handled one after the other, each
// settled in one call. Two loops overlap, as a caller would do it.
func byReceiver(ctx context.Context, o *ours, _ string, sub message.Subscriber, handle harness.Handler) error {
	receiver, err := sub.(transport.Source).Receiver(o.topic)
	if err != nil {
		return err
	}
	const loops, page = 2, 500
	ended := make(chan error, loops)
	for range loops {
		go func() { ended <- receiveLoop(ctx, receiver, page, handle) }()
	}
	for range loops {
		err = errors.Join(err, <-ended)
	}
	return errors.Join(err, receiver.Close())
}

func receiveLoop(ctx context.Context, receiver transport.Receiver, page int, handle harness.Handler) error {
	outcomes := make([]transport.Outcome, 0, page)
	for {
		deliveries, err := receiver.Receive(ctx, page)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		outcomes = outcomes[:0]
		for _, d := range deliveries {
			if err := handle(ctx, d.Message.Payload); err != nil {
				outcomes = append(outcomes, d.Retry(retryDelay, err))
			} else {
				outcomes = append(outcomes, d.Ack())
			}
		}
		if err := receiver.Settle(context.WithoutCancel(ctx), outcomes...); err != nil {
			return err
		}
	}
}

// bySubscriber is Watermill's interface, with as many goroutines as the load has workers.
func bySubscriber(ctx context.Context, o *ours, _ string, sub message.Subscriber, handle harness.Handler) error {
	msgs, err := sub.Subscribe(ctx, o.topic)
	if err != nil {
		return err
	}
	return drain(ctx, msgs, workers(o.load), handle)
}

// retryDelay is how soon a failed message comes back, in all contestants that can be told.
const retryDelay = 10 * time.Millisecond

func workers(load harness.Load) int { return max(load.Workers, 1) }

// byRouter is the router with a Watermill handler.
func byRouter(ctx context.Context, o *ours, _ string, sub message.Subscriber, handle harness.Handler) error {
	return o.route(ctx, sub, func(r *router.Router) error {
		return r.HandleMessage(eventType, func(msg *message.Message) error { return handle(msg.Context(), msg.Payload) })
	})
}

// benchEvent is the body of every message.
type benchEvent struct {
	N    string          `json:"n"`
	Data json.RawMessage `json:"data"`
}

// byTypedHandler is the router with a typed handler, which decodes the body.
func byTypedHandler(ctx context.Context, o *ours, _ string, sub message.Subscriber, handle harness.Handler) error {
	return o.route(ctx, sub, func(r *router.Router) error {
		return router.Handle(r, eventType, func(ctx context.Context, ev events.Event[benchEvent]) error {
			return handle(ctx, []byte(`{"n":"`+ev.Body.N+`"`))
		})
	})
}

// route runs a router until ctx ends.
func (o *ours) route(ctx context.Context, sub message.Subscriber, register func(*router.Router) error) error {
	r, err := router.New(router.Config{
		Subscriber: sub, Topics: []string{o.topic}, Concurrency: workers(o.load),
		Prefetch:   max(2*workers(o.load), 512),
		RetryDelay: func(int) time.Duration { return retryDelay },
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	if err := errors.Join(register(r), o.otherHandlers(r)); err != nil {
		return err
	}
	return r.Run(ctx)
}

// otherHandlers are those of event types that do not come.
func (o *ours) otherHandlers(r *router.Router) error {
	nothing := func(*message.Message) error { return nil }
	for i := range o.load.Handlers {
		if err := r.HandleMessage("other.event"+itoa(i), nothing); err != nil {
			return err
		}
	}
	for i := range o.load.Patterns {
		if err := r.HandleMessage("other"+itoa(i)+".*", nothing); err != nil {
			return err
		}
	}
	return nil
}

func libraryEvents() string {
	return "github.com/logistically/events (this tree), " + runtime.Version()
}
