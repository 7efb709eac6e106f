// Package contextkey has the keys under which contexts of handlers carry what is
// being handled. A context may answer them without holding a value for each: see
// router's.
package contextkey

// Header is the key of the event's header.
type Header struct{}

// Delivery is the key of the delivery and of what its receiver can do.
type Delivery struct{}
