// Userservice is a complete service: a validated, batched publisher, a consumer
// with retries and dead letters, handlers that publish related events, users,
// /health and /metrics over HTTP, and a shutdown on SIGTERM that finishes what
// is in flight and saves what could not be sent. A second SIGTERM, or Ctrl-C,
// ends it at once.
//
// Environment: REDIS_URL (default redis://localhost:6379/0), ADDR (default
// :8080), FAILED_FILE (default failed-events.jsonl).
package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/transport/console"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop) // The next signal has its usual effect again.
	if err := run(ctx); err != nil {
		slog.Error("user service ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	opts, err := goredis.ParseURL(getenv("REDIS_URL", "redis://localhost:6379/0"))
	if err != nil {
		return err
	}
	client := goredis.NewClient(opts)
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	if err != nil {
		return err
	}
	sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: Group})
	if err != nil {
		return err
	}
	store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: client})
	if err != nil {
		return err
	}
	service, err := NewService(ServiceConfig{
		Publisher:  pub,
		Subscriber: sub,
		Store:      store,
		SaveFailed: saveTo(getenv("FAILED_FILE", "failed-events.jsonl")),
		Logger:     slog.Default(),
	})
	if err != nil {
		return err
	}
	handler, err := service.Handler(func(ctx context.Context) error { return client.Ping(ctx).Err() })
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:              getenv("ADDR", ":8080"),
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- server.ListenAndServe()
		cancel() // Without /health nobody can tell how the service is: end it.
	}()
	slog.Info("user service started", "addr", server.Addr)
	err = service.Run(ctx)

	// First the requests, then what they have published. With DrainTimeout this
	// fits into the 30 s that Kubernetes, say, leaves a program.
	shutdown, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	err = errors.Join(err, server.Shutdown(shutdown))
	sending, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	err = errors.Join(err, service.Close(sending))
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	slog.Info("user service stopped")
	return errors.Join(err, pub.Close(), sub.Close(), client.Close())
}

// saveTo appends events to a file, one JSON line each, as the console
// transport reads them.
func saveTo(path string) func([]events.FailedMessage) error {
	return func(failed []events.FailedMessage) (err error) {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		lines, err := console.NewPublisher(console.PublisherConfig{Writer: f, Format: console.JSON})
		if err != nil {
			return err
		}
		for _, m := range failed {
			if err := lines.Publish(m.Topic, m.Message); err != nil {
				return err
			}
		}
		return f.Sync()
	}
}

func getenv(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
