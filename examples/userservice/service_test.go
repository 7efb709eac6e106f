package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/logistically/events"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/middleware"
	"github.com/logistically/events/transport"
	"github.com/logistically/events/transport/memory"
	"github.com/logistically/events/transport/redis"
	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("RUN_USERSERVICE") != "" { // See TestASecondSIGTERMEndsTheProgramAtOnce.
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// open returns a transport; subscriber makes one for a group.
type open func(t *testing.T) (pub message.Publisher, subscriber func(group string) message.Subscriber)

func onMemory(t *testing.T) (message.Publisher, func(string) message.Subscriber) {
	broker := memory.NewBroker(memory.BrokerConfig{})
	pub, err := memory.NewPublisher(broker)
	check(t, err)
	return pub, func(group string) message.Subscriber {
		sub, err := memory.NewSubscriber(broker, memory.SubscriberConfig{Group: group})
		check(t, err)
		t.Cleanup(func() { check(t, sub.Close()) })
		return sub
	}
}

func onRedis(t *testing.T) (message.Publisher, func(string) message.Subscriber) {
	client := goredis.NewClient(&goredis.Options{Addr: redisserver.New(t).Addr})
	t.Cleanup(func() { check(t, client.Close()) })
	pub, err := redis.NewPublisher(redis.PublisherConfig{Client: client})
	check(t, err)
	t.Cleanup(func() { check(t, pub.Close()) })
	return pub, func(group string) message.Subscriber {
		sub, err := redis.NewSubscriber(redis.SubscriberConfig{Client: client, Group: group})
		check(t, err)
		t.Cleanup(func() { check(t, sub.Close()) })
		return sub
	}
}

func TestServiceOnMemory(t *testing.T) { testService(t, onMemory) }
func TestServiceOnRedis(t *testing.T)  { testService(t, onRedis) }

func testService(t *testing.T, open open) {
	pub, subscriber := open(t)
	var saved []events.FailedMessage
	service := newService(t, pub, subscriber(Group), func(failed []events.FailedMessage) error { saved = failed; return nil })

	// A neighbour publishes, and watches what the service makes of it.
	neighbour, err := events.NewPublisher(pub, events.PublisherConfig{Origin: "web"})
	check(t, err)
	watcher := subscriber("watcher")
	audit := watch(t, watcher, "audit-events")
	notifications := watch(t, watcher, "notification-events")
	views := watch(t, watcher, "profile-events")
	deadLetters := watch(t, watcher, transport.DeadLetterTopic("user-events"))

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	defer func() {
		stop()
		check(t, errors.Join(<-ended, service.Close(context.Background())))
		if len(saved) > 0 {
			t.Errorf("%d events were not sent: %v", len(saved), saved[0].Err)
		}
	}()

	now := time.Now().UTC()
	check(t, neighbour.Publish(ctx, "user.created", UserCreated{UserID: "1", Name: "Ada", Email: "ada@example.com", CreatedAt: now}))
	created := events.HeaderOf(receive(t, audit))
	if welcome := events.HeaderOf(receive(t, notifications)); welcome.CausationID != created.CausationID || welcome.CorrelationID != created.CorrelationID || welcome.Origin != "user-service" {
		t.Errorf("the events of one handler have different causes: %+v and %+v", welcome, created)
	}
	check(t, neighbour.Publish(ctx, "user.updated", UserUpdated{UserID: "1", Changes: map[string]any{"name": "Ada L."}, UpdatedBy: "ada", UpdatedAt: now}))
	var updated AuditLog
	check(t, json.Unmarshal(receive(t, audit).Payload, &updated))
	if updated.Action != "user_updated" || updated.Changes["name"] != "Ada L." {
		t.Errorf("audit log %+v", updated)
	}

	// No such user, even at the third attempt; and a body that breaks its schema.
	check(t, neighbour.Publish(ctx, "user.updated", UserUpdated{UserID: "2", Changes: map[string]any{}, UpdatedBy: "ada", UpdatedAt: now}))
	expectReason(t, receive(t, deadLetters), errUserNotFound.Error())
	check(t, neighbour.Publish(ctx, "user.created", map[string]any{"userId": 3}))
	expectReason(t, receive(t, deadLetters), "is not valid")

	checkHTTP(t, service)
	var viewed ProfileViewed
	check(t, json.Unmarshal(receive(t, views).Payload, &viewed))
	if viewed.UserID != "1" {
		t.Errorf("viewed %+v", viewed)
	}
}

func newService(t *testing.T, pub message.Publisher, sub message.Subscriber, save func([]events.FailedMessage) error) *Service {
	t.Helper()
	store, err := middleware.NewMemoryIdempotencyStore(middleware.MemoryIdempotencyConfig{})
	check(t, err)
	service, err := NewService(ServiceConfig{Publisher: pub, Subscriber: sub, Store: store, SaveFailed: save, Logger: slog.New(slog.DiscardHandler)})
	check(t, err)
	return service
}

func checkHTTP(t *testing.T, service *Service) {
	t.Helper()
	var down error
	handler, err := service.Handler(func(context.Context) error { return down })
	check(t, err)
	for _, tt := range []struct {
		path   string
		ping   error
		status int
		key    string
		want   any
	}{
		{"/health", nil, http.StatusOK, "status", "healthy"},
		{"/health", errors.New("connection refused"), http.StatusServiceUnavailable, "status", "unhealthy"},
		{"/live", errors.New("connection refused"), http.StatusOK, "state", "running"},
		{"/metrics", nil, http.StatusOK, "processedEvents", 2.0},
		{"/users/1", nil, http.StatusOK, "name", "Ada L."},
		{"/users/2", nil, http.StatusNotFound, "error", errUserNotFound.Error()},
	} {
		down = tt.ping
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, tt.path, nil))
		var body map[string]any
		check(t, json.Unmarshal(w.Body.Bytes(), &body))
		if w.Code != tt.status || body[tt.key] != tt.want {
			t.Errorf("%s: %d %s", tt.path, w.Code, w.Body)
		}
	}
}

func watch(t *testing.T, sub message.Subscriber, topic string) <-chan *message.Message {
	t.Helper()
	messages, err := sub.Subscribe(t.Context(), topic)
	check(t, err)
	return messages
}

func receive(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case msg := <-messages:
		msg.Ack()
		return msg
	case <-time.After(20 * time.Second):
		t.Fatal("no message came")
		return nil
	}
}

func expectReason(t *testing.T, msg *message.Message, want string) {
	t.Helper()
	if reason := msg.Metadata[transport.MetadataFailureReason]; !strings.Contains(reason, want) {
		t.Errorf("dead letter because %q, want %q in it", reason, want)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
