package memory_test

import (
	"io"
	"log"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/logistically/events/transport/memory"
)

// Watermill's own suite, as a plain Publisher and Subscriber.
func TestWatermillUniversalSuite(t *testing.T) { watermillSuite(t, tests.TestPubSub) }

// Its stress form is the suite several times at once; see TestMain for how often.
func TestWatermillUniversalSuiteUnderStress(t *testing.T) {
	watermillSuite(t, tests.TestPubSubStressTest)
}

func watermillSuite(t *testing.T, run func(*testing.T, tests.Features, tests.PubSubConstructor, tests.ConsumerGroupPubSubConstructor)) {
	log.SetOutput(io.Discard)
	broker := memory.NewBroker(memory.BrokerConfig{})
	open := func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		pub, err := memory.NewPublisher(broker)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: group})
		if err != nil {
			t.Fatal(err)
		}
		return pub, sub
	}
	run(t, tests.Features{
		ConsumerGroups: true, Persistent: true, GuaranteedOrderWithSingleSubscriber: true, NewSubscriberReceivesOldMessages: true,
	}, func(t *testing.T) (message.Publisher, message.Subscriber) {
		return open(t, watermill.NewShortUUID())
	}, open)
}
