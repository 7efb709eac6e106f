package redis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/measure"
	"github.com/logistically/events/transport/redis"
)

// headed is a message of 250 bytes with the six header fields of a published one.
func headed() *message.Message {
	body := []byte(`{"note":"` + strings.Repeat("x", 239) + `"}`)
	msg := message.NewMessage("", body)
	const id = "0198a1b2-7c3d-7e4f-8a9b-0c1d2e3f4a5b"
	events.SetHeader(msg, events.Header{
		ID: id, Type: "order.placed", Origin: "order-service", Time: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC),
		Hash: events.Hash(body), Version: events.DefaultVersion, CorrelationID: id,
	})
	return msg
}

func encode(msg *message.Message) measure.Operation {
	return func() error {
		_, err := redis.Encode(msg)
		return err
	}
}

func BenchmarkEncode(b *testing.B) { measure.Benchmark(b, encode(headed())) }

// decode reads an entry as go-redis hands it over: all values are strings.
func decode(tb testing.TB, msg *message.Message) measure.Operation {
	tb.Helper()
	pairs, err := redis.Encode(msg)
	if err != nil {
		tb.Fatal(err)
	}
	values := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		values[fmt.Sprint(pairs[i])] = fmt.Sprintf("%s", pairs[i+1])
	}
	return func() error {
		got, err := redis.Decode(values)
		if err == nil && len(got.Metadata) != len(msg.Metadata) {
			return fmt.Errorf("decoded %v, want %v", got.Metadata, msg.Metadata)
		}
		return err
	}
}

func BenchmarkDecode(b *testing.B) { measure.Benchmark(b, decode(b, headed())) }
