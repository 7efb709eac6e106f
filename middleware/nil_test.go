package middleware_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/middleware"
)

// schemas is an events.Validator that a nil pointer is of no use as.
type schemas struct{ events.Validator }

func TestConstructorsRefuseANilPointerInAnInterface(t *testing.T) {
	second := func(_ any, err error) error { return err }
	for field, err := range map[string]error{
		"IdempotencyConfig.Store": second(middleware.Idempotency(middleware.IdempotencyConfig{Store: (*middleware.MemoryIdempotencyStore)(nil), Scope: "g"})),
		"Validation validator":    second(middleware.Validation((*schemas)(nil), middleware.ValidationConfig{})),
		"TracePublisher next":     second(middleware.TracePublisher((*recorder)(nil), middleware.TracingConfig{})),
		"PoisonConfig.Publisher":  second(middleware.PoisonQueue(middleware.PoisonConfig{Publisher: (*recorder)(nil), Topic: "dead"})),
	} {
		if _, ok := errors.AsType[*events.ConfigError](err); !ok || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), "(nil)") {
			t.Errorf("%s: %v", field, err)
		}
	}
	wantConfigError(t, "a nil function", second(middleware.Validation(validatorFunc(nil), middleware.ValidationConfig{})))
}
