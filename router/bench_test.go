package router

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/measure"
	"github.com/logistically/events/transport"
)

// feed is a receiver that costs nothing: it hands over n deliveries as fast as
// they are asked for.
type feed struct {
	fake
	left int
	keys int // how many different ids messages have; 0: all the same
	done chan struct{}
}

func (f *feed) Receiver(...string) (transport.Receiver, error) { return f, nil }

func (f *feed) Receive(ctx context.Context, limit int) ([]*transport.Delivery, error) {
	if f.left == 0 {
		close(f.done)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	page := make([]*transport.Delivery, min(limit, f.left))
	for i := range page {
		page[i] = delivery("service.entity.created")
		if f.keys > 0 {
			page[i].Message.UUID = ids[(f.left-i)%f.keys]
		}
	}
	f.left -= len(page)
	return page, nil
}

var ids = func() (ids [64]string) {
	for i := range ids {
		ids[i] = fmt.Sprint("key-", i)
	}
	return ids
}()

func (f *feed) Settle(context.Context, ...transport.Outcome) error { return nil }

// BenchmarkRun is what the router adds to each delivery, with making the
// delivery; the transport is free and the handler does nothing.
func BenchmarkRun(b *testing.B) {
	for _, lanes := range []int{1, 16} {
		b.Run(fmt.Sprintf("concurrency=%d", lanes), func(b *testing.B) {
			b.ReportAllocs()
			f := &feed{left: b.N, done: make(chan struct{})}
			r, err := New(Config{Subscriber: f, Topics: []string{"topic"}, Concurrency: lanes, Logger: quiet})
			must(b, err)
			must(b, r.HandleMessage("service.*.created", nothing))
			ctx, cancel := context.WithCancel(b.Context())
			ran := make(chan error, 1)
			b.ResetTimer()
			go func() { ran <- r.Run(ctx) }()
			<-f.done
			cancel()
			must(b, <-ran)
		})
	}
}

// BenchmarkTablePublish is one call with messages for two transports.
func BenchmarkTablePublish(b *testing.B) {
	for _, n := range []int{1, 100} {
		b.Run(fmt.Sprintf("messages=%d", n), func(b *testing.B) { measure.Benchmark(b, publishThrough(b, n)) })
	}
}

func publishThrough(tb testing.TB, n int) measure.Operation {
	pub := discard{}
	table := newTable(tb, map[string]message.Publisher{"main": pub, "other": pub},
		Route{Pattern: "user.*", Transport: "other", Prefix: "u:"}, Route{Pattern: "pay.*", Transport: "main", Priority: PriorityHigh})
	messages := make([]*message.Message, n)
	for i := range messages {
		messages[i] = typed("1", []string{"user.created", "order.placed"}[i%2])
	}
	return func() error { return table.Publish("in", messages...) }
}

type discard struct{}

func (discard) Publish(string, ...*message.Message) error { return nil }
func (discard) Close() error                              { return nil }

// cycle returns 64 event types in turn, spread evenly over those of n services.
func cycle(n int) func() string {
	var types [64]string
	for i := range types {
		types[i] = fmt.Sprintf("service%d.entity.created", i*n/len(types))
	}
	at := 0
	return func() string {
		at++
		return types[at%len(types)]
	}
}

// ofServices are n patterns, one for each service.
func ofServices(n int, rest string) []string {
	patterns := make([]string, n)
	for i := range patterns {
		patterns[i] = fmt.Sprintf("service%d.%s", i, rest)
	}
	return patterns
}

func find(tb testing.TB, patterns []string, next func() string, found bool) measure.Operation {
	d := &dispatcher{exact: map[string]*handler{}}
	for _, text := range patterns {
		d.add(&handler{pattern: parsed(tb, text)})
	}
	return func() error {
		if eventType := next(); (d.find(eventType) != nil) != found {
			return fmt.Errorf("%s: found %v, want %v", eventType, !found, found)
		}
		return nil
	}
}

func always(eventType string) func() string { return func() string { return eventType } }

// BenchmarkDispatch finds an inbound event's handler among n.
func BenchmarkDispatch(b *testing.B) {
	for _, n := range []int{1, 10, 1000, 10_000} {
		b.Run(fmt.Sprintf("exact=%d", n), func(b *testing.B) {
			measure.Benchmark(b, find(b, ofServices(n, "entity.created"), cycle(n), true))
		})
	}
	for _, n := range []int{1, 100, 1000} {
		patterns := ofServices(n, "*.created")
		b.Run(fmt.Sprintf("patterns=%d", n), func(b *testing.B) { measure.Benchmark(b, find(b, patterns, cycle(n), true)) })
		b.Run(fmt.Sprintf("unmatched=%d", n), func(b *testing.B) {
			measure.Benchmark(b, find(b, patterns, always("service0.entity.deleted"), false))
		})
	}
}

// routeOne publishes one message through a table of n routes.
func routeOne(tb testing.TB, n int, next func() string) measure.Operation {
	routes := make([]Route, n)
	for i, text := range ofServices(n, "*.created") {
		routes[i] = Route{Pattern: text, Transport: "main", Prefix: "p:"}
	}
	table := newTable(tb, map[string]message.Publisher{"main": discard{}}, routes...)
	msg := typed("1", "")
	return func() error {
		msg.Metadata[events.MetadataType] = next()
		return table.Publish("in", msg)
	}
}

// BenchmarkTableRoutes finds an outbound event's route among n, which are tried
// in order: unmatched events are the worst case.
func BenchmarkTableRoutes(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("patterns=%d", n), func(b *testing.B) { measure.Benchmark(b, routeOne(b, n, cycle(n))) })
		b.Run(fmt.Sprintf("unmatched=%d", n), func(b *testing.B) {
			measure.Benchmark(b, routeOne(b, n, always("service0.entity.deleted")))
		})
	}
}

func passThrough(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) { return next(msg) }
}

// deliverThrough takes one delivery through a lane, from its arrival to the outcome.
func deliverThrough(tb testing.TB, middlewares int, order func(*message.Message) string) measure.Operation {
	f := newFake()
	r := newRouter(tb, f)
	r.Use(slices.Repeat([]message.HandlerMiddleware{passThrough}, middlewares)...)
	lane, err := r.Lane(LaneConfig{Name: "lane", OrderBy: order})
	must(tb, err)
	must(tb, lane.HandleMessage("service.entity.created", nothing))
	must(tb, r.start())
	sources, err := r.open()
	must(tb, err)
	s, from := newSession(r, sources), sources[0]
	page := []*transport.Delivery{delivery("service.entity.created")}
	lease, end := context.WithCancelCause(tb.Context())
	tb.Cleanup(func() { end(nil) })
	return func() error {
		page[0].Message.SetContext(lease)
		from.accept(page)
		w := s.lanes[1].workers[0]
		w.handle(s.lanes[1].next(w))
		if len(from.outcomes) != 1 || from.outcomes[0].Settlement != transport.Ack {
			return fmt.Errorf("outcomes %v", from.outcomes)
		}
		from.outcomes = from.outcomes[:0]
		return nil
	}
}

func byType(msg *message.Message) string { return msg.Metadata[events.MetadataType] }

// BenchmarkDeliver is what a lane does for one delivery.
func BenchmarkDeliver(b *testing.B) {
	for _, n := range []int{0, 1, 5} {
		b.Run(fmt.Sprintf("middlewares=%d", n), func(b *testing.B) { measure.Benchmark(b, deliverThrough(b, n, nil)) })
	}
	b.Run("ordered", func(b *testing.B) { measure.Benchmark(b, deliverThrough(b, 0, byType)) })
}

// BenchmarkOrder is what order by key adds to the router's throughput: 64 keys
// in an ordered lane, beside the same in a lane without order.
func BenchmarkOrder(b *testing.B) {
	for name, order := range map[string]func(*message.Message) string{
		"unordered": nil,
		"ordered":   func(msg *message.Message) string { return msg.UUID },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			f := &feed{left: b.N, done: make(chan struct{}), keys: 64}
			r, err := New(Config{Subscriber: f, Topics: []string{"topic"}, Logger: quiet})
			must(b, err)
			lane, err := r.Lane(LaneConfig{Name: "lane", OrderBy: order})
			must(b, err)
			must(b, lane.HandleMessage("service.*.created", nothing))
			ctx, cancel := context.WithCancel(b.Context())
			ran := make(chan error, 1)
			b.ResetTimer()
			go func() { ran <- r.Run(ctx) }()
			<-f.done
			cancel()
			must(b, <-ran)
		})
	}
}
