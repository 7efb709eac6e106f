package e2e

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/redis"
)

// Somebody deletes a topic under a router, with messages of it in handlers: it goes on with what is
// published next, and what was being handled is not lost either.
func TestATopicThatVanishesIsMadeAgainAndNothingThatIsHandledIsLost(t *testing.T) {
	h := newHouse(t, 3)
	var log logged
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: h.client, Group: group, Block: 50 * time.Millisecond, Logger: log.logger()})
	h.check(err)
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Logger: log.logger(), RetryDelay: func(int) time.Duration { return 10 * time.Millisecond }})
	h.check(err)
	handling, goOn := make(chan string, 10), make(chan struct{})
	var mu sync.Mutex
	done := map[string]int{}
	h.check(r.HandleMessage("**", func(msg *message.Message) error {
		d, _ := transport.DeliveryFromContext(msg.Context())
		if len(msg.UUID) == 1 && d.Attempt == 1 {
			handling <- msg.UUID
			<-goOn
			return errTemporary
		}
		mu.Lock()
		defer mu.Unlock()
		done[msg.UUID]++
		return nil
	}))
	ctx, stop := context.WithCancel(t.Context())
	running := make(chan error, 1)
	go func() { running <- r.Run(ctx) }()
	for range 3 {
		<-handling
	}
	h.check(h.client.Del(t.Context(), "t").Err())
	until(t, "the topic is made again", func() bool { return h.client.Exists(t.Context(), "t").Val() == 1 })
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: h.client})
	h.check(err)
	h.check(pub.Publish("t", message.NewMessage("later", nil)))
	close(goOn)
	until(t, "all are handled", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(done) == 4
	})
	stop()
	h.check(<-running)
	h.check(sub.Close())
	if !strings.Contains(log.text(), "group was gone and is created again") {
		t.Errorf("it is not said: %s", log.text())
	}
}

// logged collects what is logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }
