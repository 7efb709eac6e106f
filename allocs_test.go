package events_test

import (
	"testing"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	msg, hook := published(t), webhook(t)
	measure.Allocations(t,
		measure.Budget{Name: "marshal a 250-byte event", Most: 3, Op: marshal(anOrder)},
		measure.Budget{Name: "marshal a webhook that is a tree", Most: 306, Op: marshal(webhookTree(t))},
		measure.Budget{Name: "marshal a webhook that is JSON", Most: 1, Op: marshal(hook.Body)},
		measure.Budget{Name: "unmarshal a 250-byte event", Most: 16, Op: unmarshal[orderPlaced](encodedOrder(t))},
		measure.Budget{Name: "unmarshal a webhook into a tree", Most: 426, Op: unmarshal[map[string]any](hook.Body)},
		measure.Budget{Name: "Publisher.Message of a 250-byte event", Most: 10, Op: makeMessage(t, "order.placed", anOrder)},
		measure.Budget{Name: "Publisher.Message of a webhook that is JSON", Most: 8, Op: makeMessage(t, hook.Type, hook.Body)},
		measure.Budget{Name: "Messages of a hundred events that are JSON", Most: 611, Op: makeMessages(t)},
		measure.Budget{Name: "HeaderOf", Most: 0, Op: headerOf(msg)},
		measure.Budget{Name: "SetHeader on a message without metadata", Most: 3, Op: setHeader(msg)},
		measure.Budget{Name: "Decode a 250-byte event", Most: 16, Op: decode(msg)},
	)
}
