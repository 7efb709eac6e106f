package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logistically/events"
	"github.com/logistically/events/batching"
	"github.com/logistically/events/config"
	"github.com/logistically/events/router"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// problems returns the wrong keys of an error, with what it says about them.
func problems(t *testing.T, err error) map[string]*events.ConfigError {
	t.Helper()
	found := map[string]*events.ConfigError{}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v", err)
	}
	for _, e := range joined.Unwrap() {
		c, ok := errors.AsType[*events.ConfigError](e)
		if !ok || c.Problem == "" || c.Remedy == "" || c.Value == nil {
			t.Errorf("got %#v", e)
			continue
		}
		found[c.Field] = c
	}
	return found
}

func want() (s config.Settings) {
	s.URL = "redis://localhost:6379/0"
	s.Publisher.Origin = "user-service"
	s.Publisher.Validation = events.Warn
	s.Publisher.MaxBodyBytes = 2 << 20
	s.Subscriber.Group = "mailer"
	s.Subscriber.Lease = time.Minute
	s.Subscriber.PrefetchBytes = 16 << 20
	s.Router.Topics = []string{"user-events", "order-events"}
	s.Router.Weights = map[string]int{"user-events": 8, "order-events": 1}
	s.Router.Concurrency = 32
	s.Router.MaxInFlightBytes = 5e9
	s.Router.Unknown = router.AckUnknown
	s.Router.KillSwitch.FailureRatio = 0.5
	s.Retry.MaxAttempts = 5
	s.Batching.Mode = batching.Buffered
	s.Batching.Full = batching.ErrorWhenFull
	return s
}

func TestSettingsAreReadFromTheEnvironment(t *testing.T) {
	var s config.Settings
	err := s.ReadEnv("EVENTS", []string{
		"PATH=/bin", "EVENTSOURCE=x", "EVENTS_URL=redis://localhost:6379/0",
		"EVENTS_PUBLISHER_ORIGIN=user-service", "EVENTS_PUBLISHER_VALIDATION=warn", "EVENTS_PUBLISHER_MAX_BODY_BYTES=2MiB",
		"EVENTS_SUBSCRIBER_GROUP=mailer", "EVENTS_SUBSCRIBER_LEASE=1m", "EVENTS_SUBSCRIBER_PREFETCH_BYTES=16777216", "EVENTS_SUBSCRIBER_CONSUMER=",
		"EVENTS_ROUTER_TOPICS=user-events, order-events", "EVENTS_ROUTER_WEIGHTS=user-events=8,order-events = 1",
		"EVENTS_ROUTER_CONCURRENCY=32", "EVENTS_ROUTER_MAX_IN_FLIGHT_BYTES=5GB", "EVENTS_ROUTER_UNKNOWN=ack",
		"EVENTS_ROUTER_KILL_SWITCH_FAILURE_RATIO=0.5", "EVENTS_RETRY_MAX_ATTEMPTS=5",
		"EVENTS_BATCHING_MODE=buffered", "EVENTS_BATCHING_FULL=error",
		// Of Kubernetes, for services called events and events-router.
		"EVENTS_SERVICE_HOST=10.0.0.1", "EVENTS_SERVICE_PORT=6379", "EVENTS_SERVICE_PORT_REDIS=6379", "EVENTS_PORT=tcp://10.0.0.1:6379",
		"EVENTS_PORT_6379_TCP=tcp://10.0.0.1:6379", "EVENTS_PORT_6379_TCP_ADDR=10.0.0.1", "EVENTS_ROUTER_SERVICE_HOST=10.0.0.1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, want()) {
		t.Errorf("got %+v", s)
	}
}

func TestSettingsAreReadFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.json")
	err := os.WriteFile(path, []byte(`{
		"url": "redis://localhost:6379/0",
		"publisher": {"origin": "user-service", "validation": "warn", "maxBodyBytes": "2MiB"},
		"subscriber": {"group": "mailer", "lease": "1m", "prefetchBytes": 16777216, "consumer": null},
		"router": {"topics": ["user-events", "order-events"], "weights": {"user-events": 8, "order-events": 1}, "concurrency": 32,
			"maxInFlightBytes": "5GB", "unknown": "ack", "killSwitch": {"failureRatio": 0.5}},
		"retry": {"maxAttempts": "5"},
		"batching": {"mode": "buffered", "full": "error"}
	}`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var s config.Settings
	if err := s.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, want()) {
		t.Errorf("got %+v", s)
	}
}

func TestWhatIsReadLaterCountsAndTheRestStays(t *testing.T) {
	s := config.Settings{}
	s.Router.Concurrency, s.Router.Prefetch = 4, 7
	err := errors.Join(
		s.ReadJSON(strings.NewReader(`{"router": {"concurrency": 8}, "subscriber": {"group": "a"}}`)),
		s.ReadEnv("EVENTS", []string{"EVENTS_ROUTER_CONCURRENCY=16"}),
	)
	if err != nil || s.Router.Concurrency != 16 || s.Router.Prefetch != 7 || s.Subscriber.Group != "a" {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestAllThatIsWrongIsSaidAtOnceAndNothingIsChanged(t *testing.T) {
	for name, read := range map[string]func(*config.Settings) error{
		"environment": func(s *config.Settings) error {
			return s.ReadEnv("EVENTS", []string{
				"EVENTS_SUBSCRIBER_GROUP=mailer", // This one is right.
				"EVENTS_SUBSCRIBER_LEASE=30", "EVENTS_ROUTER_CONCURENCY=hunter2", "EVENTS_ROUTER_PREFETCH=many", "EVENTS_PUBLISHER_MAX_BODY_BYTES=2MeB",
				"EVENTS_ROUTER_TOPICS=a,,b", "EVENTS_ROUTER_WEIGHTS=a", "EVENTS_BATCHING_MODE=later", "EVENTS_ROUTER_KILL_SWITCH_FAILURE_RATIO=NaN",
				"EVENTS_PASSWORD=hunter2", "EVENTS_ROUTER_MAX_IN_FLIGHT_BYTES=99999999999GiB",
			})
		},
		"file": func(s *config.Settings) error {
			return s.ReadJSON(strings.NewReader(`{"subscriber": {"group": "mailer", "lease": 30},
				"router": {"concurency": "hunter2", "prefetch": "many", "topics": ["a", 1], "weights": {"a": "x"}, "killSwitch": {"failureRatio": "NaN"}, "maxInFlightBytes": "99999999999GiB"},
				"publisher": {"maxBodyBytes": "2MeB"}, "batching": {"mode": "later"}, "password": "hunter2"}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s config.Settings
			err := read(&s)
			found := problems(t, err)
			if len(found) != 10 || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%d problems:\n%v", len(found), err)
			}
			if !reflect.DeepEqual(s, config.Settings{}) {
				t.Errorf("something was changed: %+v", s)
			}
			lease, misspelt := found["EVENTS_SUBSCRIBER_LEASE"], found["EVENTS_ROUTER_CONCURENCY"]
			like := "EVENTS_ROUTER_CONCURRENCY"
			if name == "file" {
				lease, misspelt, like = found["subscriber.lease"], found["router.concurency"], "router.concurrency"
			}
			if lease == nil || !strings.Contains(lease.Remedy, `"30s"`) || misspelt == nil || !strings.Contains(misspelt.Remedy, like) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAFileThatIsNoObjectIsRefused(t *testing.T) {
	for _, text := range []string{"", "[]", `"x"`, "{} {}", `{"url": 1}`, `{"router": 1}`, `{"router": {"topics": "a"}}`, `{"url": {"host": "x"}}`} {
		var s config.Settings
		if err := s.ReadJSON(strings.NewReader(text)); err == nil || !reflect.DeepEqual(s, config.Settings{}) {
			t.Errorf("%s is taken", text)
		}
	}
	var s config.Settings
	if err := s.ReadFile(filepath.Join(t.TempDir(), "none.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := s.ReadEnv("", nil); err == nil {
		t.Error("no prefix is taken")
	}
}

// Every number that has a type of its own needs names for its values: a number
// says nothing in a deployment's settings.
func TestEverySwitchOfTheSettingsHasNames(t *testing.T) {
	var walk func(rt reflect.Type, path string)
	env := config.Keys("EVENTS")
	walk = func(rt reflect.Type, path string) {
		for f := range rt.Fields() {
			at := path + "." + f.Name
			switch {
			case !f.IsExported():
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type, at)
			case f.Type.Kind() == reflect.Int && f.Type.PkgPath() != "":
				var s config.Settings
				if !slices.ContainsFunc(env, func(k string) bool {
					return strings.EqualFold(strings.ReplaceAll(strings.TrimPrefix(k, "EVENTS"), "_", ""), strings.ReplaceAll(at, ".", ""))
				}) {
					t.Errorf("%s has no names for its values: %v", at, s)
				}
			}
		}
	}
	walk(reflect.TypeFor[config.Settings](), "")
}

func TestKeysAreNamedByTheirFields(t *testing.T) {
	env, file := config.Keys("EVENTS"), config.Keys("")
	for i, name := range map[string]string{
		"EVENTS_URL": "url", "EVENTS_ROUTER_MAX_IN_FLIGHT_BYTES": "router.maxInFlightBytes", "EVENTS_ROUTER_KILL_SWITCH_MIN_CALLS": "router.killSwitch.minCalls",
	} {
		if at := slices.Index(env, i); at < 0 || file[at] != name {
			t.Errorf("%s and %s are not the same setting", i, name)
		}
	}
	for _, name := range []string{"EVENTS_ROUTER_LOGGER", "EVENTS_ROUTER_SUBSCRIBER", "EVENTS_SUBSCRIBER_CLIENT", "EVENTS_ROUTER_RETRY_DELAY"} {
		if slices.Contains(env, name) {
			t.Errorf("%s is no matter of a deployment", name)
		}
	}
}

func TestNoWayOfPrintingShowsThePassword(t *testing.T) {
	for _, text := range []string{
		"redis://bob:hunter2@host:6379/0", "redis://:hunter2@host/0?password=hunter2", "redis://bob:hunter2/x@host", "rediss+cluster://bob:hunter2@host?addr=b:1",
		"hunter2", ":hunter2",
	} {
		s := config.Settings{URL: config.URL(text)}
		marshalled, err := json.Marshal(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		_, oerr := (&config.Settings{URL: config.URL(text + "&x=1%zz")}).Open()
		for _, shown := range []string{s.URL.String(), fmt.Sprintf("%v %+v %#v", s.URL, s, s.URL), fmt.Sprintf("%s %q", s.URL, s.URL), string(marshalled), fmt.Sprint(oerr)} {
			if strings.Contains(shown, "hunter2") {
				t.Errorf("%s is shown as %s", text, shown)
			}
		}
	}
	if got := config.URL("redis://bob:hunter2@host:6379/0").String(); got != "redis://bob:xxxxx@host:6379/0" {
		t.Errorf("got %s", got)
	}
}
