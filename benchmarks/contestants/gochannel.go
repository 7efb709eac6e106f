package contestants

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"github.com/logistically/events/benchmarks/harness"
)

// Gochannel is Watermill's transport in process, by its Publisher and Subscriber.
func Gochannel() harness.Contestant {
	return gochannelContestant("watermill gochannel", func(ctx context.Context, s *gochannelSystem, handle harness.Handler) error {
		msgs, err := s.pubsub.Subscribe(ctx, s.topic)
		if err != nil {
			return fmt.Errorf("subscribe: %w", err)
		}
		return drain(ctx, msgs, s.handlers, handle)
	})
}

// GochannelRouter is the same through Watermill's Router, which starts a goroutine
// for each message: a semaphore holds it to the load's workers.
func GochannelRouter() harness.Contestant {
	return gochannelContestant("watermill gochannel, router", func(ctx context.Context, s *gochannelSystem, handle harness.Handler) error {
		running := make(chan struct{}, s.handlers)
		return watermillRouter(ctx, keepOpen{s.pubsub}, s.topic, func(ctx context.Context, body []byte) error {
			running <- struct{}{}
			defer func() { <-running }()
			return handle(ctx, body)
		})
	})
}

type gochannelConsumer func(ctx context.Context, s *gochannelSystem, handle harness.Handler) error

func gochannelContestant(name string, consume gochannelConsumer) harness.Contestant {
	return harness.Contestant{
		Name:    name,
		Kind:    harness.Peer,
		Library: libraryVersion("github.com/ThreeDotsLabs/watermill"),
		Replays: true,
		Limits: map[string]string{
			"recovery": "lives in one process: what it holds is lost with it",
			"idle":     "has no server to send commands to",
			"stored":   "keeps nothing in Redis",
		},
		Open: func(_ context.Context, env harness.Env) (harness.System, error) {
			return &gochannelSystem{
				topic:    env.Topic,
				handlers: inFlight(env.Load),
				consume:  consume,
				// Persistent, as a subscription otherwise gets nothing published before.
				pubsub: gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{}),
			}, nil
		},
	}
}

// inFlight is how many messages a contestant without prefetch has to handle at a
// time: the load's workers, or all those that shall be held unacknowledged.
func inFlight(load harness.Load) int { return max(workers(load), load.InFlight) }

type gochannelSystem struct {
	topic     string
	handlers  int
	consume   gochannelConsumer
	pubsub    *gochannel.GoChannel
	published atomic.Int64
}

func (s *gochannelSystem) Publish(ctx context.Context, bodies [][]byte) error {
	if err := s.pubsub.Publish(s.topic, watermillMessages(ctx, bodies)...); err != nil {
		return err
	}
	s.published.Add(int64(len(bodies)))
	return nil
}

// Consume knows no groups: each subscription gets everything, as a new group
// would. A failed message comes again at once, for gochannel knows no delay. The
// goroutines of messages that are not acknowledged by the end of ctx
// end soon after it; gochannel has no way to wait for them.
func (s *gochannelSystem) Consume(ctx context.Context, _ string, handle harness.Handler) error {
	return s.consume(ctx, s, handle)
}

// Stored counts what Publish accepted, as gochannel keeps all of it and cannot be asked.
func (s *gochannelSystem) Stored(context.Context) (int, error) { return int(s.published.Load()), nil }

func (s *gochannelSystem) Close() error { return s.pubsub.Close() }

// keepOpen is a subscriber that a router cannot close, as the publisher is the same object.
type keepOpen struct{ message.Subscriber }

func (keepOpen) Close() error { return nil }
