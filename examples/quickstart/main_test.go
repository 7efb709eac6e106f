package main

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/config"
	"github.com/logistically/events/internal/redisserver"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example_run() {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	tr, err := open("memory://")
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(run(context.Background(), tr.Publisher, tr.Subscriber), tr.Close()); err != nil {
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
	tr, err := open(config.URL("redis://" + redisserver.New(t).Addr))
	check(t, err)
	check(t, errors.Join(run(t.Context(), tr.Publisher, tr.Subscriber), tr.Close()))
}

func TestEventsOfAnEarlierRunAreHandledAndNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, err := open("memory://")
		check(t, err)
		earlier, err := events.NewPublisher(tr.Publisher, events.PublisherConfig{Origin: "earlier"})
		check(t, err)
		for range 20 {
			check(t, earlier.Publish(t.Context(), "user.created", UserCreated{"2", "alan@example.com"}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		check(t, run(ctx, tr.Publisher, tr.Subscriber))
		check(t, tr.Close())
	})
}

func TestRunningOutOfTimeIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr, err := open("memory://")
		check(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond) // The second attempt takes longer.
		defer cancel()
		if err := run(ctx, tr.Publisher, tr.Subscriber); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		check(t, tr.Close())
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
