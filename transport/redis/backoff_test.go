package redis

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// Waits double from 50 ms to 2 s, give or take a half, so that many consumers
// do not come back at once.
func TestWaitsAfterFailedReadsGrowAndAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := map[time.Duration]bool{}
		for range 10 {
			r := &reader{receiver: &receiver{ctx: t.Context(), incidents: &incidents{}, cfg: SubscriberConfig{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}}}
			for i := range 9 {
				usual := min(50*time.Millisecond<<i, recheck)
				start := time.Now()
				r.recover(errNoStream)
				took := time.Since(start)
				if took < usual/2 || took >= usual*3/2 {
					t.Errorf("the wait after %d failures is %v, want about %v", i+1, took, usual)
				}
				waits[took] = true
			}
		}
		if len(waits) < 80 {
			t.Errorf("only %d of 90 waits differ", len(waits))
		}
	})
}

func TestAReceiverThatIsClosedDoesNotWaitToReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &reader{outage: 9, waits: newBackOff(time.Second, time.Minute), receiver: &receiver{ctx: ctx, cfg: SubscriberConfig{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}}}
		start := time.Now()
		time.AfterFunc(time.Millisecond, cancel)
		r.recover(errNoStream)
		if took := time.Since(start); took != time.Millisecond {
			t.Errorf("it waited for %v", took)
		}
	})
}
