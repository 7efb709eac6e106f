// Package events is the vocabulary and the front door of an event framework
// for Go services: the event header, typed events, the typed publisher and the
// error classes by which a handler says what shall become of a message.
//
// Everything speaks Watermill's types (message.Message, message.Publisher,
// message.Subscriber, message.HandlerMiddleware), so any Watermill transport,
// middleware or decorator plugs in here, and the packages beside this one plug
// into any Watermill program.
//
// An event goes out through [Publisher] and, where wanted, package batching and
// the routing table of package router, into a transport (transport/redis,
// transport/memory, transport/console). It comes in through a transport's
// receiver and package router, which runs middleware and the handler and
// settles the delivery.
package events
