package batching_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/batching"
)

func TestStrategiesAndTopicsMakeBatches(t *testing.T) {
	for name, tt := range map[string]struct {
		strategy func(string, *message.Message) string
		batches  int
	}{
		"default":         {nil, 4},
		"exact type":      {batching.ExactType, 4},
		"first segment":   {batching.FirstSegments(1), 3},
		"two segments":    {batching.FirstSegments(2), 4},
		"many segments":   {batching.FirstSegments(9), 4},
		"no segments":     {batching.FirstSegments(0), 2},
		"fewer than none": {batching.FirstSegments(-1), 2},
		"one each topic":  {batching.ByTopic, 2},
	} {
		out := &target{}
		p := newPublisher(t, out, batching.Config{Mode: batching.Buffered, Strategy: tt.strategy})
		for i, typ := range []string{"user.created", "user.deleted", "user.created", "order.created"} {
			check(t, p.Publish("t", msg(fmt.Sprint(i), typ)))
		}
		check(t, p.Publish("other", msg("4", "user.created")))
		check(t, p.Flush(t.Context()))
		if got := len(out.got()); got != tt.batches {
			t.Errorf("%s: %d batches, want %d", name, got, tt.batches)
		}
		check(t, p.Close())
	}
}

func TestFirstSegmentsAreThoseOfTheEventType(t *testing.T) {
	for _, tt := range []struct {
		n          int
		name, want string
	}{
		{1, "order.item.added", "order"}, {2, "order.item.added", "order.item"}, {3, "order.item.added", "order.item.added"},
		{math.MaxInt, "order.item.added", "order.item.added"}, {2, "a..b", "a."}, {1, ".a", ""}, {2, "a.", "a."}, {0, "a.b", ""}, {-1, "a.b", ""},
	} {
		if got := batching.FirstSegments(tt.n)("topic", msg("1", tt.name)); got != tt.want {
			t.Errorf("first %d segments of %q: %q, want %q", tt.n, tt.name, got, tt.want)
		}
	}
}
