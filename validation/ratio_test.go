package validation_test

import (
	"testing"
	"time"

	"github.com/logistically/events/internal/measure"
)

// fastest returns the shortest time that a run of each operation takes. They
// take turns, so that what else the machine does meets them alike, and the
// shortest of many is what is left when it does nothing else.
func fastest(tb testing.TB, rounds, runs int, ops ...measure.Operation) []time.Duration {
	tb.Helper()
	best := make([]time.Duration, len(ops))
	for range rounds {
		for i, op := range ops {
			started := time.Now()
			for range runs {
				if err := op(); err != nil {
					tb.Fatal(err)
				}
			}
			if took := time.Since(started) / time.Duration(runs); best[i] == 0 || took < best[i] {
				best[i] = took
			}
		}
	}
	return best
}

// The aim is 2.2 times the time of json.Unmarshal for a webhook, and 3 times for
// a small event; the lines of the test leave room for a busy machine.
func TestValidationCostsAFewTimesAnUnmarshal(t *testing.T) {
	r, e := validWebhook(t)
	for _, c := range []struct {
		name string
		op   measure.Operation
		body []byte
		most float64
	}{
		{"webhook", validate(t, r, e.Type, e.Body), e.Body, 4},
		{"small event", validate(t, smallRegistry(t), "order.created", []byte(smallOrder)), []byte(smallOrder), 6},
	} {
		best := fastest(t, 60, 5, c.op, unmarshal(c.body))
		ratio := float64(best[0]) / float64(best[1])
		t.Logf("%s of %d bytes: parse and validate %v, json.Unmarshal %v: %.2f x", c.name, len(c.body), best[0], best[1], ratio)
		if ratio > c.most {
			t.Errorf("%s: %.2f x json.Unmarshal, at most %.1f", c.name, ratio, c.most)
		}
	}
}
