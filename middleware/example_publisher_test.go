package middleware_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events/middleware"
)

// What a server could not take is sent again, and nothing else.
func ExampleRetryPublisher() {
	server := &flakyPublisher{fails: map[string]int{"2": 1}, err: errors.New("the server is busy")}
	pub, err := middleware.RetryPublisher(server, middleware.RetryPublisherConfig{InitialInterval: time.Millisecond})
	if err != nil {
		panic(err)
	}
	fmt.Println(pub.Publish("orders", message.NewMessage("1", nil), message.NewMessage("2", nil), message.NewMessage("3", nil)))
	fmt.Println(server.calls)
	// Output:
	// <nil>
	// [[1 2 3] [2]]
}
