// Package integration tests this library together with others that it does not
// depend on, so that its go.mod stays short.
package integration

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// side is one of the two libraries on one server.
type side struct {
	name string
	pub  message.Publisher
	sub  func(consumer string) message.Subscriber
}

const group = "g"

// theirs closes each client that it is given, so each part gets its own.
func theirs(t *testing.T, addr string) side {
	client := func() goredis.UniversalClient { return goredis.NewClient(&goredis.Options{Addr: addr}) }
	pub, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client()}, watermill.NopLogger{})
	must(t, err)
	t.Cleanup(func() { must(t, pub.Close()) })
	return side{"watermill-redisstream", pub, func(consumer string) message.Subscriber {
		sub, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
			Client: client(), ConsumerGroup: group, Consumer: consumer, OldestId: "0", BlockTime: 50 * time.Millisecond, DisableIndefiniteInitialBlock: true,
		}, watermill.NopLogger{})
		must(t, err)
		t.Cleanup(func() { must(t, sub.Close()) })
		return sub
	}}
}

func ours(t *testing.T, addr string) side {
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	t.Cleanup(func() { must(t, client.Close()) })
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	must(t, err)
	return side{"events", pub, func(consumer string) message.Subscriber {
		sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: group, Consumer: consumer, Block: 50 * time.Millisecond})
		must(t, err)
		t.Cleanup(func() { must(t, sub.Close()) })
		return sub
	}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestEachLibraryReadsWhatTheOtherOneWrites(t *testing.T) {
	addr := redisserver.New(t).Addr
	libraries := []side{theirs(t, addr), ours(t, addr)}
	for i, writer := range libraries {
		reader := libraries[1-i]
		t.Run(reader.name+" reads "+writer.name, func(t *testing.T) {
			topic := fmt.Sprintf("topic-%d", i)
			want := message.NewMessage("0198a1b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b", []byte("{\"n\":1}\x00\xff"))
			events.SetHeader(want, events.Header{ID: want.UUID, Type: "order.placed", Origin: "shop", Time: time.Now(), Hash: events.Hash(want.Payload), Version: "1.0.0", CorrelationID: "c"})
			want.Metadata["ключ"] = "зна\x00чение"
			want.Metadata["long"] = string(make([]byte, 70_000))
			bare := message.NewMessage("bare", nil)
			must(t, writer.pub.Publish(topic, want, bare))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			msgs, err := reader.sub("reader").Subscribe(ctx, topic)
			must(t, err)
			for _, w := range []*message.Message{want, bare} {
				select {
				case got := <-msgs:
					if got.UUID != w.UUID || string(got.Payload) != string(w.Payload) || !maps.Equal(got.Metadata, w.Metadata) {
						t.Errorf("got %s %v %q", got.UUID, got.Metadata, got.Payload)
					}
					got.Ack()
				case <-ctx.Done():
					t.Fatal("nothing came")
				}
			}
		})
	}
}

// A service moves over instance by instance: for a while, old and new
// consumers share a group, and publishers of both kinds write.
func TestAGroupOfOldAndNewConsumersLosesNothing(t *testing.T) {
	addr := redisserver.New(t).Addr
	libraries := []side{theirs(t, addr), ours(t, addr)}
	const topic, each = "topic", 500
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var mu sync.Mutex
	handled := map[string]int{}
	by := map[string]int{}
	all := make(chan struct{})
	var consuming sync.WaitGroup
	for _, l := range libraries {
		msgs, err := l.sub(l.name).Subscribe(ctx, topic)
		must(t, err)
		consuming.Go(func() {
			for msg := range msgs {
				mu.Lock()
				if handled[msg.UUID]++; handled[msg.UUID] == 1 && len(handled) == 2*each {
					close(all)
				}
				by[l.name]++
				mu.Unlock()
				msg.Ack()
			}
		})
	}
	for n := range each {
		for _, l := range libraries {
			must(t, l.pub.Publish(topic, message.NewMessage(fmt.Sprintf("%s-%d", l.name, n), []byte("{}"))))
		}
	}
	select {
	case <-all:
	case <-ctx.Done():
		t.Errorf("%d of %d messages were handled", len(handled), 2*each)
	}
	cancel()
	consuming.Wait()
	client := goredis.NewClient(&goredis.Options{Addr: addr})
	defer client.Close()
	if p, err := client.XPending(t.Context(), topic, group).Result(); err != nil || p.Count > 1 { // the old one may leave what it had read ahead
		t.Errorf("pending: %+v, %v", p, err)
	}
	for _, l := range libraries {
		if by[l.name] == 0 {
			t.Errorf("%s handled nothing: %v", l.name, by)
		}
	}
	t.Logf("handled by %v", by)
}
