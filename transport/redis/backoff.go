package redis

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// newBackOff returns the waits between failures of one thing: from first, each twice as
// long, up to most, spread by half, so that those who failed together do not return
// together.
func newBackOff(first, most time.Duration) *backoff.ExponentialBackOff {
	return backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first), backoff.WithMaxInterval(most), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.5), backoff.WithMaxElapsedTime(0),
	)
}
