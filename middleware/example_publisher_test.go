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

// A message a second, and none that would wait for longer than half of one.
func ExampleLimitPublisher() {
	server := &flakyPublisher{}
	pub, err := middleware.LimitPublisher(server, middleware.LimitPublisherConfig{Limiter: &everySecond{}, MaxWait: time.Second / 2})
	if err != nil {
		panic(err)
	}
	for _, id := range []string{"1", "2"} {
		err := pub.Publish("orders", message.NewMessage(id, nil))
		fmt.Println(errors.Is(err, middleware.ErrPublishLimited))
	}
	// Output:
	// false
	// true
}
