package main

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"testing"

	"github.com/logistically/events/internal/redisserver"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example_run() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	pub, sub, err := onMemory()
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(context.Background(), pub, sub), pub.Close(), sub.Close()); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// published: user.created 1
	// published: user.created 2
	// published: user.created 3
	// handled: user.created 1
	// to be retried: user.created 2 (the mail server is busy)
	// dead-lettered: user.created {"userId":"3","email":"grace"} because "grace" is no e-mail address
	// handled: user.created 2
	// done: 3 published, 2 acked, 1 dead-lettered
}

func TestTheSameProgramRunsOnRedis(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://"+redisserver.New(t).Addr)
	pub, sub, err := onRedis()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(run(t.Context(), pub, sub), pub.Close(), sub.Close()); err != nil {
		t.Fatal(err)
	}
}
