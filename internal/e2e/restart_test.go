package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/memory"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

// The only consumer of a group stops while a key waits for its failed message,
// and another one takes its place.
func TestOrderedLaneReleasesInOrderAtAShutdown(t *testing.T) {
	t.Run("redis", func(t *testing.T) {
		client := goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr})
		defer client.Close()
		pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
		if err != nil {
			t.Fatal(err)
		}
		sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "g", Block: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		// Redis hands over what was released beside what is new: each in order.
		old, fresh, _ := restart(t, pub, sub)
		inOrder(t, old)
		inOrder(t, fresh)
	})
	t.Run("memory", func(t *testing.T) {
		broker := memory.NewBroker(memory.BrokerConfig{})
		pub, err := memory.NewPublisher(broker)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
		if err != nil {
			t.Fatal(err)
		}
		_, _, all := restart(t, pub, sub)
		inOrder(t, all)
	})
}

func inOrder(t *testing.T, ids []int) {
	t.Helper()
	if !slices.IsSorted(ids) {
		t.Errorf("handled in the order %v", ids)
	}
}

// restart returns in which order messages were handled that were published
// before the restart, after it, and both.
func restart(t *testing.T, pub message.Publisher, sub message.Subscriber) (old, fresh, all []int) {
	const each = 30
	publish := func(from, to int) {
		for n := from; n < to; n++ {
			if err := pub.Publish("orders", message.NewMessage(fmt.Sprint(n), []byte("{}"))); err != nil {
				t.Fatal(err)
			}
		}
	}
	var mu sync.Mutex
	var done []int
	run := func(failing string) (r *router.Router, stop func()) {
		r, err := router.New(router.Config{
			Subscriber: sub, Topics: []string{"orders"}, Concurrency: 4, Logger: slog.New(slog.DiscardHandler),
			RetryDelay: func(int) time.Duration { return time.Hour },
		})
		if err != nil {
			t.Fatal(err)
		}
		lane, err := r.Lane(router.LaneConfig{Name: "orders", OrderBy: func(*message.Message) string { return "one" }})
		if err != nil {
			t.Fatal(err)
		}
		err = lane.HandleMessage("**", func(msg *message.Message) error {
			if msg.UUID == failing {
				return errors.New("busy")
			}
			mu.Lock()
			defer mu.Unlock()
			n, err := strconv.Atoi(msg.UUID)
			done = append(done, n)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		return r, func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	handled := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(done)
	}

	publish(0, each)
	r, stop := run("10")
	until(t, "a key waits", func() bool { return r.Status().Lanes[1].Delayed == 1 && r.Status().Lanes[1].Waiting > 5 })
	stop()
	publish(each, 2*each)
	_, stop = run("")
	until(t, "all are handled", func() bool { return handled() == 2*each })
	stop()

	for _, n := range done {
		if n < each {
			old = append(old, n)
		} else {
			fresh = append(fresh, n)
		}
	}
	return old, fresh, done
}
