// Package transporttest is the suite that every transport passes: what the
// documentation of transport.Receiver promises, and what Watermill's Publisher
// and Subscriber do. Anyone's transport can run it:
//
//	func TestTransport(t *testing.T) {
//		transporttest.Run(t, transporttest.Harness{Publisher: …, Subscriber: …})
//	}
package transporttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/transport"
)

// Harness makes what the suite tests. All that is made within one test shares
// one server, broker, or whatever the transport stores messages in.
type Harness struct {
	// Publisher makes a publisher. Required. The suite closes it.
	Publisher func(t *testing.T) message.Publisher
	// Subscriber makes a subscriber of a consumer group, which is also a
	// transport.Source. Nil for a transport that only publishes. The suite
	// closes it.
	Subscriber func(t *testing.T, group string) message.Subscriber
	// Exclusive makes an exclusive subscriber of a consumer group: of its receivers, one
	// at a time has a topic, the living ones share their topics evenly, and messages keep
	// their order however topics change hands. Nil for a transport that has none.
	Exclusive func(t *testing.T, group string) message.Subscriber
	// Crash ends a receiver as a crash of its process would: it stops, and
	// releases nothing. Nil leaves out the tests of crashes.
	Crash func(t *testing.T, r transport.Receiver)
	// DeadLetters returns the dead letters of a topic.
	DeadLetters func(t *testing.T, topic string) []*message.Message
	// Claims makes a store of claims that settling can conclude, where the receipts of
	// deliveries are a transport.Committer. Nil leaves out the tests of that.
	Claims func(t *testing.T) ClaimStore
	// Lease is the lease of the subscribers that Subscriber makes. It
	// should be short: tests of crashes wait for it.
	Lease time.Duration
}

// patience is how long something may take that is expected to happen.
const patience = 20 * time.Second

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, *env)
	}{
		{"NilMessageIsRefused", nilMessageIsRefused},
		{"PublishAfterCloseFails", publishAfterCloseFails},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, newEnv(t, h)) })
	}
	if h.Subscriber == nil {
		return
	}
	for _, tt := range []struct {
		name string
		test func(*testing.T, *env)
	}{
		{"TopicsThatAreNoneAreNotPublishedTo", topicsThatAreNoneAreNotPublishedTo},
		{"TopicsThatAreNoneAreNotReceived", topicsThatAreNoneAreNotReceived},
		{"ClosedSubscriberOpensNothing", closedSubscriberOpensNothing},
		{"OutcomesThatAreNoneAreReported", outcomesThatAreNoneAreReported},
		{"MessagesArriveAsPublished", messagesArriveAsPublished},
		{"BulkPublishKeepsOrder", bulkPublishKeepsOrder},
		{"ReceiveReturnsAtMostMax", receiveReturnsAtMostMax},
		{"ReceiveEndsWithItsContext", receiveEndsWithItsContext},
		{"EachGroupGetsEveryMessage", eachGroupGetsEveryMessage},
		{"ReceiversOfOneGroupShare", receiversOfOneGroupShare},
		{"RetryComesBackLater", retryComesBackLater},
		{"RetryIsPrivateToItsGroup", retryIsPrivateToItsGroup},
		{"DeadLetterIsStoredWithItsFailure", deadLetterIsStoredWithItsFailure},
		{"ReleaseComesBackAtOnce", releaseComesBackAtOnce},
		{"SettlingTwiceChangesNothing", settlingTwiceChangesNothing},
		{"CloseReleasesWhatIsHeld", closeReleasesWhatIsHeld},
		{"LivingReceiverKeepsItsLease", livingReceiverKeepsItsLease},
		{"CrashedReceiversMessagesGoToOthers", crashedReceiversMessagesGoToOthers},
		{"AckCommitsMarkAndProduced", ackCommitsMarkAndProduced},
		{"ClaimBeyondDoubtIsConcluded", claimBeyondDoubtIsConcluded},
		{"LostClaimCommitsNothing", lostClaimCommitsNothing},
		{"MarkOfAnotherRunOnlyAcks", markOfAnotherRunOnlyAcks},
		{"OtherSettlementsDropTheClaim", otherSettlementsDropTheClaim},
		{"NextDeliveryTakesTheClaimOver", nextDeliveryTakesTheClaimOver},
		{"SubscriberAcksAndNacks", subscriberAcksAndNacks},
		{"SubscriberEndsWithItsContext", subscriberEndsWithItsContext},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, newEnv(t, h))
		})
	}
	if h.Exclusive == nil {
		return
	}
	for _, tt := range []struct {
		name string
		test func(*testing.T, *env)
	}{
		{"ExclusiveTopicHasOneReceiver", exclusiveTopicHasOneReceiver},
		{"ExclusiveReceiverThatClosesLeavesItsMessagesInOrder", exclusiveReceiverThatClosesLeavesItsMessagesInOrder},
		{"ExclusiveReceiverThatCrashesLeavesItsMessagesInOrder", exclusiveReceiverThatCrashesLeavesItsMessagesInOrder},
		{"ExclusiveTopicIsHandedOverWhenWhatIsHeldIsSettled", exclusiveTopicIsHandedOverWhenWhatIsHeldIsSettled},
		{"ExclusiveReceiversShareTopicsEvenlyAndInOrder", exclusiveReceiversShareTopicsEvenlyAndInOrder},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, newEnv(t, h))
		})
	}
}

// env is the surroundings of one test.
type env struct {
	Harness
	t     *testing.T
	topic string
	pub   message.Publisher
}

func newEnv(t *testing.T, h Harness) *env {
	e := &env{Harness: h, t: t, topic: fmt.Sprintf("topic-%d", time.Now().UnixNano()), pub: h.Publisher(t)}
	t.Cleanup(func() { e.check(e.pub.Close()) })
	return e
}

func (e *env) check(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// context ends when the patience does.
func (e *env) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	e.t.Cleanup(cancel)
	return ctx
}

func (e *env) subscriber(group string) message.Subscriber {
	sub := e.Subscriber(e.t, group)
	e.t.Cleanup(func() { e.check(sub.Close()) })
	return sub
}

func (e *env) source(group string) transport.Source {
	e.t.Helper()
	source, ok := e.subscriber(group).(transport.Source)
	if !ok {
		e.t.Fatal("the subscriber is no transport.Source")
	}
	return source
}

// receiver opens a receiver on the test's topic; it is closed with the test.
func (e *env) receiver(group string) transport.Receiver {
	e.t.Helper()
	r, err := e.source(group).Receiver(e.topic)
	e.check(err)
	e.t.Cleanup(func() { e.check(r.Close()) })
	return r
}

// publish publishes n messages with the ids "0" to "n-1" in one call.
func (e *env) publish(n int) {
	e.t.Helper()
	msgs := make([]*message.Message, n)
	for i := range msgs {
		msgs[i] = message.NewMessage(fmt.Sprint(i), fmt.Appendf(nil, "payload %d", i))
		msgs[i].Metadata["number"] = fmt.Sprint(i)
	}
	e.check(e.pub.Publish(e.topic, msgs...))
}

// receive receives exactly n deliveries.
func (e *env) receive(r transport.Receiver, n int) []*transport.Delivery {
	e.t.Helper()
	var all []*transport.Delivery
	ctx := e.context()
	for len(all) < n {
		page, err := r.Receive(ctx, n-len(all))
		if err != nil {
			e.t.Fatalf("received %d of %d: %v", len(all), n, err)
		}
		all = append(all, page...)
	}
	return all
}

// nothing makes sure that nothing is to be received for a moment.
func (e *env) nothing(r transport.Receiver, moment time.Duration) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), moment)
	defer cancel()
	page, err := r.Receive(ctx, 10)
	if !errors.Is(err, context.DeadlineExceeded) {
		e.t.Fatalf("received %d deliveries (%v), want none", len(page), err)
	}
}

func (e *env) settle(r transport.Receiver, outcomes ...transport.Outcome) {
	e.t.Helper()
	e.check(r.Settle(e.context(), outcomes...))
}

func acks(deliveries []*transport.Delivery) []transport.Outcome {
	outcomes := make([]transport.Outcome, len(deliveries))
	for i, d := range deliveries {
		outcomes[i] = d.Ack()
	}
	return outcomes
}

// metadata compares what the test set, and ignores what the transport added.
func sameMetadata(got, want message.Metadata) bool {
	for key, value := range want {
		if got[key] != value {
			return false
		}
	}
	return len(got) >= len(want) && (len(want) > 0 || maps.Equal(got, want))
}
