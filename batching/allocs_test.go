package batching_test

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/internal/measure"
)

// ending returns a message whose context can end, as that of a request does.
func ending(t *testing.T) *message.Message {
	m := msg("1", "order.placed")
	m.SetContext(t.Context())
	return m
}

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	measure.Allocations(t,
		// One of each message is the slice that its caller makes of Publish's arguments.
		measure.Budget{Name: "a batch of 100, buffered", Most: 106, Op: fullBatch(t, msg("1", "order.placed"))},
		measure.Budget{Name: "a batch of 100 whose contexts end, buffered", Most: 107, Op: fullBatch(t, ending(t))},
		measure.Budget{Name: "a message that is waited for", Most: 1, Op: waitForOne(t)},
	)
}
