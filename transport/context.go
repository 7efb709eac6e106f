package transport

import (
	"context"

	"github.com/logistically/events/internal/contextkey"
)

type received struct {
	delivery     *Delivery
	capabilities Capabilities
}

// ContextWithDelivery returns a context that carries the delivery being
// handled. The router calls it for every delivery.
func ContextWithDelivery(ctx context.Context, d *Delivery, c Capabilities) context.Context {
	return context.WithValue(ctx, contextkey.Delivery{}, received{d, c})
}

// DeliveryFromContext returns the delivery being handled and what its receiver
// can do. The delivery is nil outside our router, such as in Watermill's.
func DeliveryFromContext(ctx context.Context) (*Delivery, Capabilities) {
	switch r := ctx.Value(contextkey.Delivery{}).(type) {
	case received:
		return r.delivery, r.capabilities
	case interface {
		ContextDelivery() (*Delivery, Capabilities)
	}: // the router's
		return r.ContextDelivery()
	}
	return nil, Capabilities{}
}
