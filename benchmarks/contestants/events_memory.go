package contestants

import (
	"context"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/benchmarks/harness"
	"github.com/logistically/events/transport/memory"
)

// EventsMemory are the ways of this library within one process.
func EventsMemory() []harness.Contestant {
	return []harness.Contestant{
		eventsMemory("events memory", byRouter),
		eventsMemory("events memory, receiver", byReceiver),
		eventsMemory("events memory, subscriber", bySubscriber),
	}
}

func eventsMemory(name string, consume consumer) harness.Contestant {
	const reason = "lives in one process"
	return harness.Contestant{
		Name: name, Kind: harness.Ours, Library: libraryEvents(), Replays: true,
		Limits: map[string]string{"recovery": reason, "idle": reason, "stored": reason},
		Open: func(_ context.Context, env harness.Env) (harness.System, error) {
			broker := memory.NewBroker(memory.BrokerConfig{})
			o := &ours{topic: env.Topic, load: env.Load, consume: consume, close: func() error { return nil }}
			o.stored = func(context.Context) (int, error) { return broker.Unsettled(env.Topic, "nobody"), nil }
			o.subscriber = func(group string) (message.Subscriber, error) {
				return memory.NewSubscriber(broker, memory.SubscriberConfig{
					Group: group, MaxInFlight: workers(env.Load), Logger: slog.New(slog.DiscardHandler),
				})
			}
			pub, err := memory.NewPublisher(broker)
			if err != nil {
				return nil, err
			}
			return o, o.publishTo(pub)
		},
	}
}
