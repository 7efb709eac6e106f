package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport/console"
)

// The whole program on a real server: it serves /health, and SIGTERM ends it.
func TestProgramDrainsOnSIGTERM(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	addr := l.Addr().String()
	check(t, l.Close())
	t.Setenv("ADDR", addr)
	t.Setenv("REDIS_URL", "redis://"+redisserver.New(t).Addr)
	t.Setenv("FAILED_FILE", filepath.Join(t.TempDir(), "failed.jsonl"))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		main()
	}()
	health := awaitHealth(t, "http://"+addr+"/health")
	if health["status"] != "healthy" || health["publisher"] == nil || health["consumer"] == nil {
		t.Errorf("health %v", health)
	}
	check(t, syscall.Kill(os.Getpid(), syscall.SIGTERM))
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("SIGTERM does not end the program")
	}
	if _, err := os.Stat(os.Getenv("FAILED_FILE")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("events were saved as failed: %v", err)
	}
}

func awaitHealth(t *testing.T, url string) (health map[string]any) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	limit := time.After(20 * time.Second)
	for {
		resp, err := client.Get(url)
		if err == nil {
			defer resp.Body.Close()
			check(t, json.NewDecoder(resp.Body).Decode(&health))
			return health
		}
		select {
		case <-limit:
			t.Fatalf("no answer: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// down is a transport that nothing can be published to.
type down struct{}

func (down) Publish(string, ...*message.Message) error { return errors.New("connection refused") }
func (down) Close() error                              { return nil }

func TestWhatCannotBeSentIsSavedAndCanBeReadBack(t *testing.T) {
	pub, subscriber := onMemory(t)
	store, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{})
	check(t, err)
	file := filepath.Join(t.TempDir(), "failed.jsonl")
	service, err := NewService(ServiceConfig{
		Publisher: down{}, Subscriber: subscriber(Group), Store: store, SaveFailed: saveTo(file), Logger: slog.New(slog.DiscardHandler),
	})
	check(t, err)
	web, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "web"})
	check(t, err)
	check(t, web.Publish(t.Context(), "user.created", UserCreated{UserID: "1", Name: "Ada", Email: "ada@example.com", CreatedAt: time.Now()}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	for service.batches.MemoryStats().Failed < 2 {
		<-time.After(10 * time.Millisecond) // until the batches have been tried
	}
	stop()
	check(t, <-ended)

	f, err := os.Open(file)
	check(t, err)
	defer f.Close()
	saved, err := console.NewSubscriber(console.SubscriberConfig{Reader: f})
	check(t, err)
	msgs, err := saved.Subscribe(t.Context(), "")
	check(t, err)
	types := map[string]bool{}
	for msg := range msgs {
		types[events.HeaderOf(msg).Type] = true
		msg.Ack()
	}
	check(t, saved.Close())
	if !types["notification.sent"] || !types["audit.log"] || len(types) != 2 {
		t.Errorf("saved %v", types)
	}
}
