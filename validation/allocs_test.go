package validation_test

import (
	"testing"

	"github.com/logistically/events/internal/measure"
)

func TestAllocationsStayWithinTheirBudget(t *testing.T) {
	r, e := validWebhook(t)
	measure.Allocations(t,
		measure.Budget{Name: "validate a small event", Most: 128, Op: validate(t, smallRegistry(t), "order.created", []byte(smallOrder))},
		measure.Budget{Name: "validate a webhook", Most: 894, Op: validate(t, r, e.Type, e.Body)},
	)
}
