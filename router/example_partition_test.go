package router_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
)

// Order by key across processes: the key picks one of several topics, of which one
// instance at a time reads each, and a lane keeps the order there.
func ExampleRoute_partitions() {
	customer := func(msg *message.Message) string { return msg.Metadata["customer"] }
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	check(err)
	table, err := router.NewTable(router.TableConfig{
		Default: "main", Transports: map[string]message.Publisher{"main": pub},
		Routes: []router.Route{{Pattern: "order.*", Transport: "main", Partitions: 4, PartitionBy: customer}},
	})
	check(err)

	ctx, stop := context.WithCancel(context.Background())
	var mu sync.Mutex
	handled := map[string][]string{}
	var instances, all sync.WaitGroup
	all.Add(6)
	for range 2 {
		sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "billing", Exclusive: true})
		check(err)
		r, err := router.New(router.Config{Subscriber: sub, Topics: transport.PartitionTopics("order-events", 4)})
		check(err)
		lane, err := r.Lane(router.LaneConfig{Name: "orders", OrderBy: customer})
		check(err)
		check(lane.HandleMessage("order.*", func(msg *message.Message) error {
			mu.Lock()
			defer mu.Unlock()
			handled[customer(msg)] = append(handled[customer(msg)], msg.UUID)
			all.Done()
			return nil
		}))
		instances.Go(func() { check(r.Run(ctx)) })
	}
	for i, who := range []string{"ada", "bob", "ada", "ada", "bob", "bob"} {
		msg := message.NewMessage(fmt.Sprint(i), nil)
		msg.Metadata = message.Metadata{events.MetadataType: "order.placed", "customer": who}
		check(table.Publish("order-events", msg))
	}
	all.Wait()
	stop()
	instances.Wait()
	fmt.Println(handled["ada"], handled["bob"])
	// Output: [0 2 3] [1 4 5]
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
