package redis_test

import (
	"fmt"
	"log"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/transport/redis"
)

// An event as services of the TypeScript library read it, and as it is read here again.
func ExampleEnvelopeFormat() {
	format := redis.EnvelopeFormat{Version: 2, Namespace: "billing", Prefix: "user-events:"}
	msg := message.NewMessage("", []byte(`{ "name": "Žofie", "balance": 1.50 }`))
	events.SetHeader(msg, events.Header{
		ID: "720a6ed6-3fbb-4641-ad48-251e6fe19c4a", Type: "user.created", Origin: "billing-service",
		Time: time.Date(2026, 11, 23, 22, 26, 47, 959e6, time.UTC),
	})
	topic := format.Topic("user.created")
	entry, err := format.Encode(topic, msg) // redis.PublisherConfig{Format: format} does the same
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: %s %s\n", topic, entry[0], entry[1])

	again, err := redis.Decode(map[string]any{"data": string(entry[1].([]byte))})
	if err != nil {
		log.Fatal(err)
	}
	h := events.HeaderOf(again)
	fmt.Println(h.Type, h.Origin, again.Metadata[redis.MetadataNamespace], string(again.Payload))
	// Output:
	// user-events: data {"pattern":"user-events:user.created","data":{"header":{"id":"720a6ed6-3fbb-4641-ad48-251e6fe19c4a","type":"billing.user.created","origin":"billing-service","timestamp":"2026-11-23T22:26:47.959Z","hash":"f904b8cb4d61082e9b3f515d6dbb463558a04433bb3e5c01a9a48d72b308021e","version":"1.0.0"},"body":{"name":"Žofie","balance":1.5}}}
	// user.created billing-service billing {"name":"Žofie","balance":1.5}
}
