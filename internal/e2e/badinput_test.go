package e2e

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/console"
	"github.com/logistically/events/transport/memory"
	"github.com/logistically/events/transport/redis"
	"github.com/logistically/events/validation"
	goredis "github.com/redis/go-redis/v9"
)

var update = flag.Bool("update", false, "rewrite testdata/badinput.golden")

// Every error that a wrong setting, a wrong server or a wrong event leads to
// says what is wrong and what to do. The golden file is the list of them.
func TestBadInputGivesAnErrorThatNamesTheRemedy(t *testing.T) {
	var got strings.Builder
	say := func(name string, err error) {
		text := "NO ERROR"
		if err != nil {
			text = err.Error()
		}
		fmt.Fprintf(&got, "%s\n    %s\n", name, normalise(text))
	}
	badServers(t, say)
	badEvents(t, say)
	badSettings(t, say)

	const golden = "testdata/badinput.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("errors differ from %s (-update rewrites it):\n%s", golden, got.String())
	}
	if strings.Contains(got.String(), "NO ERROR") {
		t.Error("something bad was accepted")
	}
}

// normalise removes what differs from run to run.
func normalise(text string) string {
	text = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(text, "HOST:PORT")
	text = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`).ReplaceAllString(text, "ID")
	return strings.ReplaceAll(text, "\n", "\n    ")
}

// badServers publishes to and receives from servers that something is wrong with.
func badServers(t *testing.T, say func(string, error)) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	good := redisserver.New(t).Addr
	locked := redisserver.New(t, "--requirepass", "secret").Addr
	for _, tt := range []struct {
		name string
		opts goredis.Options
	}{
		{"unreachable Redis", goredis.Options{Addr: nobody, MaxRetries: -1}},
		{"no password", goredis.Options{Addr: locked}},
		{"wrong password", goredis.Options{Addr: locked, Password: "guess"}},
		{"key of another type", goredis.Options{Addr: good}},
	} {
		client := goredis.NewClient(&tt.opts)
		if tt.opts.Addr == good {
			if err := client.Set(t.Context(), "user-events", "a string", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
		if err != nil {
			t.Fatal(err)
		}
		publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "test"})
		if err != nil {
			t.Fatal(err)
		}
		say(tt.name+", publish", publisher.Publish(t.Context(), "user.created", 1))
		sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "g"})
		if err != nil {
			t.Fatal(err)
		}
		r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}})
		if err != nil {
			t.Fatal(err)
		}
		say(tt.name+", run", r.Run(t.Context()))
		store, err := redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{Client: client, KeyPrefix: "user-"})
		if err != nil {
			t.Fatal(err)
		}
		if tt.opts.Addr == good {
			if err := client.LPush(t.Context(), "user-1", "a list").Err(); err != nil {
				t.Fatal(err)
			}
		}
		_, err = store.Begin(t.Context(), transport.Claim{Key: "1", Token: "token", Lease: time.Minute})
		say(tt.name+", idempotency", err)
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}

// badEvents shows the reasons of what ends in the dead letters, and of what
// is not published at all.
func badEvents(t *testing.T, say func(string, error)) {
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "test", MaxBodyBytes: 10})
	if err != nil {
		t.Fatal(err)
	}
	say("body over the size limit", publisher.Publish(t.Context(), "user.created", "0123456789"))
	for _, msg := range []*message.Message{typed("user.deleted", `{}`), typed("user.created", `{"userId":1}`), typed("user.created", `{`)} {
		if err := pub.Publish("user-events", msg); err != nil {
			t.Fatal(err)
		}
	}
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"user-events"}, Concurrency: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	type user struct{ UserID string }
	handle := func(context.Context, events.Event[user]) error { return nil }
	if err := router.Handle(r, "user.created", handle); err != nil {
		t.Fatal(err)
	}
	dead, err := sub.Subscribe(t.Context(), "{user-events}:dead-letters")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	for _, name := range []string{"unknown event type", "body of another type", "broken body"} {
		select {
		case msg := <-dead:
			say(name, fmt.Errorf("dead letter: %s", msg.Metadata["failure_reason"]))
			msg.Ack()
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: no dead letter", name)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
	_, err = redis.Decode(map[string]any{"data": "x"})
	say("entry that is no message", err)
	_, err = redis.Decode(map[string]any{"_watermill_message_uuid": "1", "metadata": "\xc1"})
	say("entry with broken metadata", err)
}

func typed(eventType, body string) *message.Message {
	msg := message.NewMessage("1", []byte(body))
	msg.Metadata[events.MetadataType] = eventType
	return msg
}

// badSettings calls every constructor with what it must refuse.
func badSettings(t *testing.T, say func(string, error)) {
	client := goredis.NewClient(&goredis.Options{})
	defer client.Close()
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: "g"})
	if err != nil {
		t.Fatal(err)
	}
	registry, err := validation.NewRegistry(validation.Config{})
	if err != nil {
		t.Fatal(err)
	}
	second := func(_ any, err error) error { return err }
	say("publisher without transport", second(events.NewPublisher(nil, events.PublisherConfig{})))
	say("publisher, zero config", second(events.NewPublisher(pub, events.PublisherConfig{})))
	say("publisher over a nil pointer", second(events.NewPublisher((*memory.Publisher)(nil), events.PublisherConfig{Origin: "test"})))
	say("publisher with a nil pointer as validator", second(events.NewPublisher(pub, events.PublisherConfig{Origin: "test", Validator: (*validation.Registry)(nil)})))
	say("redis publisher, zero config", second(redis.NewPublisher(redis.PublisherConfig{})))
	say("redis subscriber, zero config", second(redis.NewSubscriber(redis.SubscriberConfig{})))
	say("redis subscriber without group", second(redis.NewSubscriber(redis.SubscriberConfig{Client: client})))
	say("redis subscriber, negative prefetch", second(redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: "g", Prefetch: -1})))
	say("redis idempotency store, zero config", second(redis.NewIdempotencyStore(redis.IdempotencyStoreConfig{})))
	say("memory publisher without broker", second(memory.NewPublisher(nil)))
	say("memory subscriber without broker", second(memory.NewSubscriber(nil, memory.SubscriberConfig{Group: "g"})))
	say("memory subscriber, zero config", second(memory.NewSubscriber(broker, memory.SubscriberConfig{})))
	say("console publisher, wrong format", second(console.NewPublisher(console.PublisherConfig{Format: 7})))
	say("router, zero config", second(router.New(router.Config{})))
	say("router over a nil pointer", second(router.New(router.Config{Subscriber: (*memory.Subscriber)(nil)})))
	say("router without topics", second(router.New(router.Config{Subscriber: sub})))
	say("router, negative concurrency", second(router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Concurrency: -1})))
	say("router, too many handlers at a time", second(router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Concurrency: math.MaxInt})))
	say("router, too large prefetch", second(router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Prefetch: math.MaxInt})))
	r, err := router.New(router.Config{Subscriber: sub, Topics: []string{"t"}})
	if err != nil {
		t.Fatal(err)
	}
	handle := func(*message.Message) error { return nil }
	if err := r.HandleMessage("user.created", handle); err != nil {
		t.Fatal(err)
	}
	say("duplicate handler", r.HandleMessage("user.created", handle))
	say("nil handler", r.HandleMessage("user.updated", nil))
	say("bad pattern", r.HandleMessage("**.created", handle))
	key := func(*message.Message) string { return "" }
	say("router, weight of an unknown topic", second(router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Weights: map[string]int{"u": 2}})))
	say("router, weight of zero", second(router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, Weights: map[string]int{"t": 0}})))
	say("router, negative limit", second(router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, MaxInFlight: -1})))
	say("router, kill switch at a ratio over 1", second(router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, KillSwitch: router.KillSwitchConfig{FailureRatio: 50}})))
	say("router, kill switch without a ratio", second(router.New(router.Config{Subscriber: sub, Topics: []string{"t"}, KillSwitch: router.KillSwitchConfig{MinCalls: 5}})))
	say("lane, zero config", second(r.Lane(router.LaneConfig{})))
	say("lane, negative concurrency", second(r.Lane(router.LaneConfig{Name: "orders", Concurrency: -1})))
	say("lane, policy without order", second(r.Lane(router.LaneConfig{Name: "orders", OnFailure: router.ParkKey})))
	lane, err := r.Lane(router.LaneConfig{Name: "orders", Concurrency: 2, OrderBy: key})
	if err != nil {
		t.Fatal(err)
	}
	say("two lanes of one name", second(r.Lane(router.LaneConfig{Name: "orders"})))
	batch := func(context.Context, []events.Event[int]) []error { return nil }
	say("batch larger than its lane", router.HandleBatch(lane, "order.*", router.BatchConfig{MaxSize: 10}, batch))
	say("batch, negative wait", router.HandleBatch(r, "order.*", router.BatchConfig{MaxWait: -1}, batch))
	say("pause of an unknown lane", r.Pause(router.Scope{Lane: "payments"}))
	say("run with refused handlers", r.Run(t.Context()))
	say("run twice", r.Run(t.Context()))
	say("handler added after Run", r.HandleMessage("user.renamed", handle))
	say("lane added after Run", second(r.Lane(router.LaneConfig{Name: "late"})))
	redisOnly := map[string]message.Publisher{"redis": pub}
	say("routing table, zero config", second(router.NewTable(router.TableConfig{})))
	say("routing table with a nil pointer", second(router.NewTable(router.TableConfig{Default: "redis", Transports: map[string]message.Publisher{"redis": (*redis.Publisher)(nil)}})))
	say("route to an unknown transport", second(router.NewTable(router.TableConfig{Default: "redis", Transports: redisOnly, Routes: []router.Route{{Pattern: "a.*", Transport: "kafka"}}})))
	say("route that can never match", second(router.NewTable(router.TableConfig{Default: "redis", Transports: redisOnly, Routes: []router.Route{{Pattern: "a.**", Transport: "redis"}, {Pattern: "a.b", Transport: "redis"}}})))
	say("route twice", second(router.NewTable(router.TableConfig{Default: "redis", Transports: redisOnly, Routes: []router.Route{{Pattern: "a.*", Transport: "redis"}, {Pattern: "a.*", Transport: "redis"}}})))
	say("batching without publisher", second(batching.NewPublisher(nil, batching.Config{})))
	say("batching, negative size", second(batching.NewPublisher(pub, batching.Config{MaxSize: -1})))
	say("validation without validator", second(middleware.Validation(nil, middleware.ValidationConfig{})))
	say("idempotency, zero config", second(middleware.Idempotency(middleware.IdempotencyConfig{})))
	say("retry, negative attempts", second(middleware.Retry(middleware.RetryConfig{MaxAttempts: -1})))
	say("poison queue with a publisher and no topic", second(middleware.PoisonQueue(middleware.PoisonConfig{Publisher: pub})))
	say("tracing without publisher", second(middleware.TracePublisher(nil, middleware.TracingConfig{})))
	say("broken schema", registry.AddSchema("user.created", []byte(`{"type":"user"}`)))
	say("schema elsewhere", registry.AddSchema("user.created", []byte(`{"$ref":"https://example.com/user.json"}`)))
}
