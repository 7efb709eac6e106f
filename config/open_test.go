package config_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/logistically/events"
	"github.com/logistically/events/config"
	"github.com/logistically/events/internal/redisserver"
	"github.com/logistically/events/router"
	"github.com/logistically/events/transport/redis"
)

// A service that is configured by its environment.
func Example() {
	settings := config.Settings{Subscriber: redis.SubscriberConfig{Group: "mailer"}} // defaults
	environ := []string{"EVENTS_URL=memory://", "EVENTS_PUBLISHER_ORIGIN=user-service", "EVENTS_ROUTER_TOPICS=user-events"}
	if err := settings.ReadEnv("EVENTS", environ); err != nil { // os.Environ()
		fmt.Println(err)
		return
	}
	transport, err := settings.Open()
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := send(context.Background(), &settings, transport); err != nil {
		fmt.Println(err)
	}
	fmt.Println(transport.Close())
	// Output:
	// handled "hello" from user-service
	// <nil>
}

// send publishes an event and runs a router until it is handled.
func send(ctx context.Context, s *config.Settings, t *config.Transport) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	publisher, err := events.NewPublisher(t.Publisher, s.Publisher)
	if err != nil {
		return err
	}
	cfg := s.Router
	cfg.Subscriber = t.Subscriber
	r, err := router.New(cfg)
	if err != nil {
		return err
	}
	err = router.Handle(r, "user.*", func(_ context.Context, ev events.Event[string]) error {
		fmt.Printf("handled %q from %s\n", ev.Body, ev.Origin)
		cancel()
		return nil
	})
	return errors.Join(err, publisher.Publish(ctx, "user.created", "hello"), r.Run(ctx))
}

// Misspelt names and bad values are said all at once.
func ExampleSettings_ReadEnv() {
	var s config.Settings
	fmt.Println(s.ReadEnv("EVENTS", []string{"EVENTS_ROUTER_CONCURENCY=32", "EVENTS_SUBSCRIBER_LEASE=30"}))
	// Output:
	// EVENTS_ROUTER_CONCURENCY: is no setting (got "[not shown]"): did you mean EVENTS_ROUTER_CONCURRENCY? docs/CONFIGURATION.md lists them; or use another prefix for variables of other programs
	// EVENTS_SUBSCRIBER_LEASE: is no duration (got "30"): set it to numbers with units, such as "30s", "1m30s" or "250ms"
}

func TestAURLOpensRedis(t *testing.T) {
	server := redisserver.New(t)
	s := config.Settings{URL: config.URL("redis://" + server.Addr + "/0?pool_size=3")}
	s.Publisher.Origin = "user-service"
	s.Subscriber.Group = "mailer"
	s.Router.Topics = []string{"user-events"}
	tr, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := send(t.Context(), &s, tr); err != nil {
		t.Error(err)
	}
	if n, err := tr.Redis.XLen(t.Context(), "user-events").Result(); n != 1 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	if err := errors.Join(tr.Close(), tr.Close()); err != nil {
		t.Error(err)
	}
}

func TestAURLOpensWhatItNames(t *testing.T) {
	for url, want := range map[string]string{
		"redis://host:1": "*redis.Client", "rediss://host": "*redis.Client", "unix:///run/redis.sock?db=1": "*redis.Client",
		"redis://host?min_retry_backoff=100ms&max_retries=3": "*redis.Client",
		"redis+cluster://a:1?addr=b:2":                       "*redis.ClusterClient", "rediss+cluster://a": "*redis.ClusterClient",
		"redis+sentinel://a:1?master_name=m&addr=b:2": "*redis.Client",
		"memory://": "*memory.Broker", "memory:": "*memory.Broker", "memory://?maxLen=10": "*memory.Broker",
		"console://": "*console.Publisher", "console://stderr?format=json": "*console.Publisher",
	} {
		s := config.Settings{URL: config.URL(url)}
		tr, err := s.Open()
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		var opened any = tr.Publisher
		switch {
		case tr.Redis != nil:
			opened = tr.Redis
		case tr.Memory != nil:
			opened = tr.Memory
		}
		if got := fmt.Sprintf("%T", opened); got != want {
			t.Errorf("%s opens a %s", url, got)
		}
		if (tr.Subscriber != nil) != strings.HasPrefix(url, "console") {
			t.Errorf("%s: subscriber %v without a group", url, tr.Subscriber)
		}
		if err := tr.Close(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAURLThatOpensNothingSaysWhy(t *testing.T) {
	for url, problem := range map[string]string{
		"":                          "is empty",
		"localhost:6379":            "scheme",
		"kafka://host":              "scheme",
		"redis://:hunter2/x@host":   "is no URL",
		"redis://hunter2/x@host":    "names no Redis server",
		"redis://host?colour=blue":  "colour",
		"redis+sentinel://host":     "names no primary",
		"redis+cluster://host?x=1":  "x",
		"memory://?size=3":          `unknown parameter "size"`,
		"memory://?maxLen=none":     "maxLen",
		"memory://orders":           "names a place",
		"console://stdout?format=x": "format",
		"console://printer":         "names no output",
	} {
		_, err := (&config.Settings{URL: config.URL(url)}).Open()
		if _, ok := errors.AsType[*events.ConfigError](err); !ok || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v", url, err)
		}
	}
	s := config.Settings{URL: "redis://host"}
	s.Subscriber.Group, s.Subscriber.Prefetch = "mailer", -1
	if _, err := s.Open(); err == nil || !strings.Contains(err.Error(), "Prefetch") {
		t.Errorf("got %v", err)
	}
}
